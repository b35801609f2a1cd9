import {
  Button,
  Checkbox,
  Form,
  FormGroup,
  FormHelperText,
  FormSelect,
  FormSelectOption,
  FormSelectOptionGroup,
  HelperText,
  HelperTextItem,
  Modal,
  ModalBody,
  ModalFooter,
  ModalHeader,
  TextArea,
  TextInput,
} from '@patternfly/react-core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useId, useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { data, useApi, type Schemas } from '../../api/client';
import { useLater } from '../../state/later';
import { OPERATORS, parse, print, quote, type Comparison, type Operator, type Term } from './query';

interface ChipFormProps {
  /** What is edited; a new one if it is missing. */
  term: Term | undefined;
  onSave: (text: string) => void;
  onClose: () => void;
}

const NEW: Comparison = { field: 'src.namespace', operator: '=', values: [''], negated: false };

/** A filter by field, comparison and values; as text where it says more. */
export function ChipForm({ term, onSave, onClose }: ChipFormProps) {
  const { t } = useTranslation('traffic');
  const form = useId();
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-label={t('chips.form')}>
      <ModalHeader title={t(term ? 'chips.edit' : 'chips.add')} />
      <ModalBody>
        {term && !term.comparison ? (
          <TextForm id={form} text={term.text} onSave={onSave} />
        ) : (
          <ComparisonForm id={form} comparison={term?.comparison ?? NEW} onSave={onSave} />
        )}
      </ModalBody>
      <ModalFooter>
        <Button type="submit" form={form}>
          {t('chips.save')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('chips.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  );
}

interface PartProps {
  id: string;
  onSave: (text: string) => void;
}

function TextForm({ id, text, onSave }: PartProps & { text: string }) {
  const { t } = useTranslation('traffic');
  const [draft, setDraft] = useState(text);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSave(draft);
  };
  return (
    <Form id={id} onSubmit={submit}>
      <FormGroup label={t('chips.text')} fieldId={`${id}-text`}>
        <TextArea id={`${id}-text`} value={draft} onChange={(_, text) => setDraft(text)} resizeOrientation="vertical" />
      </FormGroup>
    </Form>
  );
}

function ComparisonForm({ id, comparison, onSave }: PartProps & { comparison: Comparison }) {
  const { t } = useTranslation('traffic');
  const { client } = useApi();
  const { data: fields = [] } = useQuery({
    queryKey: ['fields'],
    queryFn: async ({ signal }) => (await data(client.GET('/api/v1/fields', { signal }))).items,
    staleTime: Infinity,
  });
  const [draft, setDraft] = useState(comparison);
  const [values, setValues] = useState(comparison.values.map((value) => quoteInList(value)).join(', '));
  const change = (part: Partial<Comparison>) => setDraft({ ...draft, ...part });
  const known = fields.find(({ name, aliases = [] }) => name === draft.field || aliases.includes(draft.field));
  const operators = OPERATORS.filter((operator) => known?.operators.includes(operator) ?? true);
  const said = valuesOf(values);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (said.length === 0) return;
    const operator = said.length > 1 && draft.operator === '=' ? 'in' : draft.operator;
    onSave(print({ ...draft, operator, values: said }));
  };
  return (
    <Form id={id} onSubmit={submit}>
      <FormGroup label={t('chips.field')} fieldId={`${id}-field`}>
        <FormSelect id={`${id}-field`} value={draft.field} onChange={(_, field) => change({ field })}>
          {!known && <FormSelectOption value={draft.field} label={draft.field} />}
          {grouped(fields).map(([group, members]) => (
            <FormSelectOptionGroup key={group} label={t(`chips.fields.${group}`)}>
              {members.map(({ name }) => (
                <FormSelectOption key={name} value={name} label={name} />
              ))}
            </FormSelectOptionGroup>
          ))}
        </FormSelect>
        {known && (
          <FormHelperText>
            <HelperText>
              <HelperTextItem>{known.about}</HelperTextItem>
            </HelperText>
          </FormHelperText>
        )}
      </FormGroup>
      <FormGroup label={t('chips.operator')} fieldId={`${id}-operator`}>
        <FormSelect
          id={`${id}-operator`}
          value={draft.operator}
          onChange={(_, operator) => change({ operator: operator as Operator })}
        >
          {operators.map((operator) => (
            <FormSelectOption
              key={operator}
              value={operator}
              label={`${operator}  ${t(`chips.operators.${operator}`)}`}
            />
          ))}
        </FormSelect>
      </FormGroup>
      <FormGroup label={t('chips.values')} fieldId={`${id}-values`} isRequired>
        <TextInput
          id={`${id}-values`}
          value={values}
          isRequired
          autoFocus
          autoComplete="off"
          list={`${id}-list`}
          onChange={(_, values) => setValues(values)}
        />
        <Values id={`${id}-list`} field={draft.field} text={values} />
        <FormHelperText>
          <HelperText>
            <HelperTextItem>{t('chips.valuesHint')}</HelperTextItem>
          </HelperText>
        </FormHelperText>
      </FormGroup>
      <Checkbox
        id={`${id}-not`}
        label={t('chips.negated')}
        isChecked={draft.negated}
        onChange={(_, negated) => change({ negated })}
      />
    </Form>
  );
}

/** The values that exist, as the browser's own suggestions. */
function Values({ id, field, text }: { id: string; field: string; text: string }) {
  const { client } = useApi();
  const before = text.includes(',') ? `${text.slice(0, text.lastIndexOf(',') + 1)} ` : '';
  const q = useLater(`${field}=${text.slice(before ? before.length - 1 : 0).trim()}`, 100);
  const { data: found = [] } = useQuery({
    queryKey: ['complete', q],
    queryFn: async ({ signal }) => {
      const { items } = await data(client.GET('/api/v1/complete', { params: { query: { q } }, signal }));
      return items.filter(({ kind }) => kind === 'value');
    },
    placeholderData: keepPreviousData,
  });
  return (
    <datalist id={id}>
      {found.slice(0, 50).map(({ text }) => (
        <option key={text} value={before + text} />
      ))}
    </datalist>
  );
}

type FieldGroup = 'source' | 'destination' | 'egress' | 'ingress' | 'common';

function grouped(fields: Schemas['Field'][]): [FieldGroup, Schemas['Field'][]][] {
  const of = (name: string): FieldGroup => {
    const [first = ''] = name.split('.');
    const groups: Record<string, FieldGroup> = {
      src: 'source',
      dst: 'destination',
      egress: 'egress',
      ingress: 'ingress',
    };
    return groups[first] ?? 'common';
  };
  const order: FieldGroup[] = ['common', 'source', 'destination', 'egress', 'ingress'];
  return order.map((group): [FieldGroup, Schemas['Field'][]] => [
    group,
    fields.filter(({ name }) => of(name) === group),
  ]);
}

/** Values of a list, which may stand in quotes. */
function valuesOf(text: string): string[] {
  const [term] = parse(`x in (${text})`).terms;
  return term?.comparison?.values ?? (text.trim() ? [text.trim()] : []);
}

const quoteInList = (value: string) => (value === '' ? '' : quote(value));
