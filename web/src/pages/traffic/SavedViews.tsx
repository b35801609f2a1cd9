import {
  Button,
  Divider,
  Dropdown,
  DropdownItem,
  DropdownList,
  Form,
  FormGroup,
  MenuItemAction,
  MenuToggle,
  Modal,
  ModalBody,
  ModalFooter,
  ModalHeader,
  TextInput,
} from '@patternfly/react-core';
import { BookmarkIcon, TrashIcon } from '@patternfly/react-icons';
import { memo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router-dom';
import { useStored } from '../../state/stored';

interface View {
  name: string;
  /** What stands behind `?` in the page's address. */
  search: string;
}

/** What belongs to a moment, not to a view. */
const LEFT_OUT = ['row', 'tab'];

/** Addresses of this page by name: query, time, columns. */
export const SavedViews = memo(function SavedViews() {
  const { t } = useTranslation('traffic');
  const [params, setParams] = useSearchParams();
  const [views, setViews] = useStored<View[]>('traffic.views', []);
  const [open, setOpen] = useState(false);
  const [naming, setNaming] = useState(false);
  const save = (name: string) => {
    const kept = new URLSearchParams(params);
    LEFT_OUT.forEach((name) => kept.delete(name));
    const others = views.filter((view) => view.name !== name);
    setViews([...others, { name, search: kept.toString() }].sort((a, b) => a.name.localeCompare(b.name)));
    setNaming(false);
  };
  return (
    <>
      <Dropdown
        isOpen={open}
        onOpenChange={setOpen}
        onSelect={(_, value) => {
          setOpen(false);
          const view = views.find(({ name }) => name === value);
          if (view) setParams(new URLSearchParams(view.search));
          else setNaming(true);
        }}
        onActionClick={(_, name) => setViews(views.filter((view) => view.name !== name))}
        popperProps={{ position: 'right' }}
        toggle={(ref) => (
          <MenuToggle ref={ref} size="sm" icon={<BookmarkIcon />} isExpanded={open} onClick={() => setOpen(!open)}>
            {t('views.title')}
          </MenuToggle>
        )}
      >
        <DropdownList>
          {views.map(({ name }) => (
            <DropdownItem
              key={name}
              value={name}
              actions={<MenuItemAction icon={<TrashIcon />} actionId={name} aria-label={t('views.remove', { name })} />}
            >
              {name}
            </DropdownItem>
          ))}
          {views.length > 0 && <Divider component="li" />}
          <DropdownItem>{t('views.save')}</DropdownItem>
        </DropdownList>
      </Dropdown>
      {naming && <Naming onSave={save} onClose={() => setNaming(false)} />}
    </>
  );
});

function Naming({ onSave, onClose }: { onSave: (name: string) => void; onClose: () => void }) {
  const { t } = useTranslation('traffic');
  const [name, setName] = useState('');
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-label={t('views.save')}>
      <ModalHeader title={t('views.save')} description={t('views.hint')} />
      <ModalBody>
        <Form
          id="view"
          onSubmit={(event) => {
            event.preventDefault();
            if (name.trim()) onSave(name.trim());
          }}
        >
          <FormGroup label={t('views.name')} fieldId="view-name" isRequired>
            <TextInput id="view-name" isRequired autoFocus value={name} onChange={(_, name) => setName(name)} />
          </FormGroup>
        </Form>
      </ModalBody>
      <ModalFooter>
        <Button type="submit" form="view" isDisabled={!name.trim()}>
          {t('views.keep')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('views.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  );
}
