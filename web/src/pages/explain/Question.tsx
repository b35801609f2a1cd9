import { Button, Flex, FlexItem, Form, FormGroup, TextInput } from '@patternfly/react-core';
import { ExchangeAltIcon } from '@patternfly/react-icons';
import { useRef, useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { useKeys } from '../../state/keys';
import './explain.css';
import { useRefs } from './useRefs';

export interface Asked {
  from: string;
  to: string;
  port: string;
}

/** Two ends and a port. */
export function Question({ asked, onAsk }: { asked: Asked; onAsk: (asked: Asked) => void }) {
  const { t } = useTranslation('explain');
  const refs = useRefs();
  const first = useRef<HTMLInputElement>(null);
  const [seen, setSeen] = useState(asked);
  const [draft, setDraft] = useState(asked);
  if (seen.from !== asked.from || seen.to !== asked.to || seen.port !== asked.port) {
    setSeen(asked);
    setDraft(asked);
  }
  useKeys({ '/': () => first.current?.focus() });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onAsk({ from: draft.from.trim(), to: draft.to.trim(), port: draft.port.trim() });
  };
  const field = (name: keyof Asked, list?: string) => (
    <FlexItem flex={{ default: name === 'port' ? 'flexNone' : 'flex_1' }} className="nv-explain-field">
      <FormGroup label={t(`field.${name}`)} fieldId={`explain-${name}`}>
        <TextInput
          id={`explain-${name}`}
          ref={name === 'from' ? first : undefined}
          list={list}
          autoComplete="off"
          spellCheck={false}
          placeholder={t(`example.${name}`)}
          value={draft[name]}
          onChange={(_, value) => setDraft({ ...draft, [name]: value })}
        />
      </FormGroup>
    </FlexItem>
  );
  return (
    <Form onSubmit={submit} className="nv-explain-form">
      <datalist id="explain-refs">
        {refs.map((ref) => (
          <option key={ref} value={ref} />
        ))}
      </datalist>
      <Flex alignItems={{ default: 'alignItemsFlexEnd' }}>
        {field('from', 'explain-refs')}
        <Button
          variant="plain"
          aria-label={t('swap')}
          icon={<ExchangeAltIcon />}
          onClick={() => setDraft({ ...draft, from: draft.to, to: draft.from })}
        />
        {field('to', 'explain-refs')}
        {field('port')}
        <Button type="submit" isDisabled={!draft.from.trim() || !draft.to.trim()}>
          {t('ask')}
        </Button>
      </Flex>
      <p className="nv-subtle-text">{t('hint')}</p>
    </Form>
  );
}
