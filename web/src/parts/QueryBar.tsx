import {
  Button,
  HelperText,
  HelperTextItem,
  InputGroup,
  InputGroupItem,
  MenuToggle,
  Select,
  SelectList,
  SelectOption,
  TextInputGroup,
  TextInputGroupMain,
  TextInputGroupUtilities,
} from '@patternfly/react-core';
import { SearchIcon, TimesIcon } from '@patternfly/react-icons';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { memo, useId, useRef, useState, type KeyboardEvent } from 'react';
import { flushSync } from 'react-dom';
import { useTranslation } from 'react-i18next';
import { data, ProblemError, useApi, type Schemas } from '../api/client';
import { useKeys } from '../state/keys';
import { useLater } from '../state/later';
import { fromBytes, toBytes } from './bytes';

const SHOWN = 60;
const STILL = 80;

interface QueryBarProps {
  /** The query that is asked. */
  value: string;
  /** Called with a new one when it is to be asked. */
  onChange: (query: string) => void;
  /** What the server said of it: a wrong query is shown with the place. */
  error?: Error | null;
  placeholder?: string;
}

/** The text of a query, with what could come next; `/` goes there. */
export const QueryBar = memo(function QueryBar({ value, onChange, error, placeholder }: QueryBarProps) {
  const { t } = useTranslation();
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [seen, setSeen] = useState(value);
  const [draft, setDraft] = useState(value);
  const [at, setAt] = useState(value.length);
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  if (seen !== value) {
    setSeen(value);
    setDraft(value);
  }
  useKeys({ '/': () => input.current?.focus() });
  const { asked, pieces } = usePieces(draft, at, open);
  const shown = open && asked === draft ? pieces.slice(0, SHOWN) : [];
  const report = error instanceof ProblemError ? error.problem.report : undefined;

  const place = () => setAt(input.current?.selectionStart ?? draft.length);
  const ask = () => {
    setOpen(false);
    setActive(-1);
    onChange(draft.trim());
  };
  const accept = (piece: Schemas['Piece']) => {
    const from = fromBytes(draft, piece.from);
    const next = draft.slice(0, from) + piece.text + draft.slice(fromBytes(draft, piece.to));
    const behind = from + piece.text.length;
    flushSync(() => {
      setDraft(next);
      setAt(behind);
      setActive(-1);
    });
    input.current?.focus();
    input.current?.setSelectionRange(behind, behind);
  };
  const move = (by: number) => {
    setOpen(true);
    setActive((was) => (shown.length ? (Math.max(was, by > 0 ? -1 : 0) + by + shown.length) % shown.length : -1));
  };
  const press = (event: KeyboardEvent) => {
    const chosen = shown[active];
    if (event.key === 'ArrowDown') move(1);
    else if (event.key === 'ArrowUp') move(-1);
    else if (event.key === 'Enter') {
      if (chosen) accept(chosen);
      else ask();
    } else if (event.key === 'Tab' && chosen) accept(chosen);
    else if (event.key === 'Escape' && open) setOpen(false);
    else if (event.key === 'Escape') input.current?.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="nv-query">
      <InputGroup>
        <InputGroupItem isFill>
          <Select
            variant="typeahead"
            isOpen={open && shown.length > 0}
            onOpenChange={(open) => !open && setOpen(false)}
            onSelect={(_, index) => {
              const piece = shown[Number(index)];
              if (piece) accept(piece);
            }}
            isScrollable
            maxMenuHeight="18rem"
            toggle={(ref) => (
              <MenuToggle
                variant="typeahead"
                innerRef={ref}
                isExpanded={open && shown.length > 0}
                isFullWidth
                aria-label={t('query.show')}
                status={report ? 'danger' : undefined}
                onClick={() => {
                  setOpen(!open);
                  input.current?.focus();
                }}
              >
                <TextInputGroup isPlain>
                  <TextInputGroupMain
                    innerRef={input}
                    icon={<SearchIcon />}
                    value={draft}
                    placeholder={placeholder ?? t('query.placeholder')}
                    aria-label={t('query.label')}
                    role="combobox"
                    isExpanded={open && shown.length > 0}
                    aria-controls={id}
                    {...(shown[active] && { 'aria-activedescendant': `${id}-${active}` })}
                    autoComplete="off"
                    spellCheck={false}
                    className="nv-query-text"
                    inputProps={{ 'aria-invalid': Boolean(report), 'aria-autocomplete': 'list' }}
                    onClick={() => {
                      place();
                      setOpen(true);
                    }}
                    onSelect={place}
                    onKeyDown={press}
                    onChange={(event, text) => {
                      setDraft(text);
                      setAt(event.currentTarget.selectionStart ?? text.length);
                      setOpen(true);
                      setActive(-1);
                    }}
                  />
                  {draft && (
                    <TextInputGroupUtilities>
                      <Button
                        variant="plain"
                        icon={<TimesIcon />}
                        aria-label={t('query.clear')}
                        onClick={() => {
                          setDraft('');
                          setAt(0);
                          onChange('');
                        }}
                      />
                    </TextInputGroupUtilities>
                  )}
                </TextInputGroup>
              </MenuToggle>
            )}
          >
            <SelectList id={id} aria-label={t('query.pieces')}>
              {shown.map((piece, index) => (
                <SelectOption
                  key={`${piece.kind} ${piece.text}`}
                  id={`${id}-${index}`}
                  value={index}
                  isFocused={index === active}
                  description={piece.about ?? undefined}
                >
                  <code>{piece.text.trim()}</code>
                </SelectOption>
              ))}
            </SelectList>
          </Select>
        </InputGroupItem>
        <InputGroupItem>
          <Button variant="control" onClick={ask}>
            {t('query.ask')}
          </Button>
        </InputGroupItem>
      </InputGroup>
      {report && (
        <HelperText isLiveRegion>
          <HelperTextItem variant="error">
            {t('query.wrong')}
            <pre className="nv-report">{report}</pre>
          </HelperTextItem>
        </HelperText>
      )}
    </div>
  );
});

/** What could stand at the cursor, and the text that this was asked of. */
function usePieces(draft: string, at: number, open: boolean): { asked: string; pieces: Schemas['Piece'][] } {
  const { client } = useApi();
  const later = useLater(`${at} ${draft}`, STILL);
  const place = Number(later.slice(0, later.indexOf(' ')));
  const text = later.slice(later.indexOf(' ') + 1);
  const { data: found } = useQuery({
    queryKey: ['complete', text, place],
    queryFn: async ({ signal }) => {
      const query = { q: text, cursor: toBytes(text, place) };
      const { items } = await data(client.GET('/api/v1/complete', { params: { query }, signal }));
      return { asked: text, pieces: items };
    },
    enabled: open,
    placeholderData: keepPreviousData,
    staleTime: 30_000,
  });
  return found ?? { asked: '', pieces: [] };
}
