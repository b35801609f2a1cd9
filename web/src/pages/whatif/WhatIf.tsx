import { Button, Flex, FlexItem, PageSection } from '@patternfly/react-core';
import { PlayIcon, UploadIcon } from '@patternfly/react-icons';
import { useMutation } from '@tanstack/react-query';
import { useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { data, ProblemError, useApi, type Schemas } from '../../api/client';
import { QueryBar } from '../../parts/QueryBar';
import { PageHead } from '../../parts/PageHead';
import { Failed, Loading } from '../../parts/states';
import { Yaml } from '../../parts/Yaml';
import { useRange } from '../../state/range';
import { useUrl } from '../../state/url';
import { putDraft, readDraft } from '../../state/whatif';
import { notes, problems, type Answer } from './answer';
import { Mistakes } from './Mistakes';
import { Removals } from './Removals';
import { Result } from './Result';
import './whatif.css';

const NONE: never[] = [];
/** A change is judged by more than the last minutes. */
const USUAL = '-1h';

/** Recorded connections under other policies, before these are applied. */
export default function WhatIf() {
  const { t } = useTranslation('whatif');
  const [draft] = useState(readDraft);
  const [text, setText] = useState(draft?.text ?? '');
  const [q, setQ] = useUrl('q', draft?.query ?? '');
  const [removed, setRemoved] = useUrl('remove');
  const remove = removed.split(',').filter(Boolean);
  const [{ since, until }] = useRange(USUAL);
  const trial = useTrial();
  const { data: answer, error, isPending, variables } = trial;
  const mistakes = answer?.mistakes ?? mistakesOf(error);
  const found = useMemo(() => (mistakes ? problems(mistakes) : NONE), [mistakes]);
  const isCurrent = variables?.policies === text && variables.remove?.join() === remove.join();
  const isEmpty = !text.trim() && remove.length === 0;
  const said = useMemo(
    () => (answer && isCurrent ? notes(answer.changes, (change, count) => t(`note.${change}`, { count })) : NONE),
    [answer, isCurrent, t],
  );
  const write = (text: string) => {
    setText(text);
    putDraft({ text, query: q });
  };
  const run = () => {
    if (!isEmpty) trial.mutate({ policies: text, remove, since, until, ...(q && { q }) });
  };
  return (
    <>
      <PageSection>
        <PageHead title={t('title')} usual={USUAL} />
        <p className="nv-whatif-hint">{t('hint')}</p>
        <Yaml
          label={t('editor')}
          text={text}
          onChange={write}
          onRun={run}
          problems={found}
          notes={said}
          minHeight="14rem"
          maxHeight="60vh"
        />
        <Removals chosen={remove} onChange={(objects) => setRemoved(objects.join(','))} />
        <Mistakes mistakes={mistakes ?? NONE} />
        <Flex className="nv-whatif-bar" alignItems={{ default: 'alignItemsFlexStart' }}>
          <Button icon={<PlayIcon />} onClick={run} isLoading={isPending} isDisabled={isEmpty || isPending}>
            {t('run')}
          </Button>
          <Upload onText={write} />
          <FlexItem flex={{ default: 'flex_1' }} className="nv-whatif-query">
            <QueryBar value={q} onChange={setQ} error={error} placeholder={t('query')} />
          </FlexItem>
        </Flex>
      </PageSection>
      <PageSection isFilled aria-live="polite">
        {isPending ? (
          <Loading />
        ) : error && !mistakes ? (
          <Failed error={error} again={run} />
        ) : answer ? (
          <Result answer={answer} />
        ) : (
          !error && <p className="nv-subtle-text">{t('before')}</p>
        )}
      </PageSection>
    </>
  );
}

function useTrial() {
  const { client } = useApi();
  return useMutation({
    mutationFn: async (body: Schemas['WhatifRequest']) =>
      (await data(client.POST('/api/v1/whatif', { body }))) as unknown as Answer,
  });
}

/** What is wrong with the text, if that is why there is no answer. */
function mistakesOf(error: Error | null): Schemas['Mistake'][] | undefined {
  const mistakes = error instanceof ProblemError ? error.problem.mistakes : undefined;
  return mistakes && mistakes.length > 0 ? mistakes : undefined;
}

function Upload({ onText }: { onText: (text: string) => void }) {
  const { t } = useTranslation('whatif');
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <Button variant="secondary" icon={<UploadIcon />} onClick={() => input.current?.click()}>
        {t('upload')}
      </Button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        accept=".yaml,.yml,.json"
        aria-label={t('upload')}
        onChange={({ target }) => {
          const files = [...(target.files ?? [])].map((file) => file.text());
          void Promise.all(files).then((texts) => onText(texts.join('\n---\n')));
          target.value = '';
        }}
      />
    </>
  );
}
