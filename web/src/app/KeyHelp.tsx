import {
  DescriptionList,
  DescriptionListDescription,
  DescriptionListGroup,
  DescriptionListTerm,
  Modal,
  ModalBody,
  ModalHeader,
} from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { PAGES } from './pages';

export function KeyHelp({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const rows: [string, string][] = [
    ['/', t('keys.search')],
    ['j', t('keys.down')],
    ['k', t('keys.up')],
    ['Enter', t('keys.open')],
    ['Esc', t('keys.back')],
    ['?', t('keys.help')],
    ...PAGES.map(({ name, key }): [string, string] => [`g ${key}`, t('keys.go', { page: t('title', { ns: name }) })]),
  ];
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-label={t('keys.title')}>
      <ModalHeader title={t('keys.title')} />
      <ModalBody>
        <DescriptionList isHorizontal isCompact>
          {rows.map(([key, what]) => (
            <DescriptionListGroup key={key}>
              <DescriptionListTerm>
                <kbd>{key}</kbd>
              </DescriptionListTerm>
              <DescriptionListDescription>{what}</DescriptionListDescription>
            </DescriptionListGroup>
          ))}
        </DescriptionList>
      </ModalBody>
    </Modal>
  );
}
