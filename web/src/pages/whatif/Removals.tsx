import { Button, Flex, FlexItem, Label, LabelGroup, TextInput } from '@patternfly/react-core';
import { TrashIcon } from '@patternfly/react-icons';
import { useId, useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { usePolicyRefs } from './usePolicyRefs';

interface Props {
  /** `KIND/NAMESPACE/NAME`, or `KIND/NAME`. */
  chosen: string[];
  onChange: (chosen: string[]) => void;
}

/** The policies that are tried to be gone. */
export function Removals({ chosen, onChange }: Props) {
  const { t } = useTranslation('whatif');
  const id = useId();
  const refs = usePolicyRefs();
  const [text, setText] = useState('');
  const add = (event: FormEvent) => {
    event.preventDefault();
    const object = text.trim();
    if (object) onChange([...new Set([...chosen, object])]);
    setText('');
  };
  return (
    <Flex
      component="form"
      className="nv-whatif-bar"
      onSubmit={add}
      spaceItems={{ default: 'spaceItemsSm' }}
      alignItems={{ default: 'alignItemsCenter' }}
    >
      <datalist id={id}>
        {refs.map((ref) => (
          <option key={ref} value={ref} />
        ))}
      </datalist>
      <FlexItem className="nv-whatif-remove">
        <TextInput
          aria-label={t('remove.label')}
          placeholder={t('remove.label')}
          list={id}
          autoComplete="off"
          spellCheck={false}
          value={text}
          onChange={(_, value) => setText(value)}
        />
      </FlexItem>
      <Button type="submit" variant="secondary" icon={<TrashIcon />} isDisabled={!text.trim()}>
        {t('remove.add')}
      </Button>
      {chosen.length > 0 && (
        <LabelGroup categoryName={t('remove.chosen')} numLabels={20}>
          {chosen.map((object) => (
            <Label
              key={object}
              color="red"
              onClose={() => onChange(chosen.filter((it) => it !== object))}
              closeBtnAriaLabel={t('remove.keep', { object })}
            >
              {object}
            </Label>
          ))}
        </LabelGroup>
      )}
    </Flex>
  );
}
