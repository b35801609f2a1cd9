import {
  Button,
  DatePicker,
  Flex,
  FormGroup,
  HelperText,
  HelperTextItem,
  MenuToggle,
  Modal,
  ModalBody,
  ModalFooter,
  ModalHeader,
  Select,
  SelectList,
  SelectOption,
  TimePicker,
} from '@patternfly/react-core';
import { ClockIcon, SyncAltIcon } from '@patternfly/react-icons';
import { useIsFetching, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { LAST, useRange, useRefresh, type Range } from '../state/range';

const SECONDS = ['', '5', '15', '30', '60', '300'];
const CUSTOM = 'custom';

/** The time range of the page, how often it is asked anew, and the button that asks now. */
export function RangePicker({ usual }: { usual?: string }) {
  const { t } = useTranslation();
  const [range, setRange] = useRange(usual);
  const [every, setEvery] = useRefresh();
  const [custom, setCustom] = useState(false);
  const queries = useQueryClient();
  const busy = useIsFetching() > 0;
  const relative = range.until === 'now' && LAST.some((last) => last === range.since);
  const options = [
    ...LAST.map((last) => [last, t(`range.last.${last}`)] as const),
    [CUSTOM, t('range.custom')] as const,
  ];
  const shown = relative ? t(`range.last.${range.since as (typeof LAST)[number]}`) : t('range.between', { ...range });
  return (
    <Flex spaceItems={{ default: 'spaceItemsSm' }} flexWrap={{ default: 'nowrap' }}>
      <Choice
        label={t('range.label')}
        shown={shown}
        options={options}
        chosen={relative ? range.since : CUSTOM}
        icon={<ClockIcon />}
        onChoose={(since) => (since === CUSTOM ? setCustom(true) : setRange({ since, until: 'now' }))}
      />
      <Choice
        label={t('refresh.label')}
        shown={every ? t(`refresh.${every / 1000}` as 'refresh.5') : t('refresh.off')}
        options={SECONDS.map(
          (seconds) => [seconds, t(seconds ? (`refresh.${seconds}` as 'refresh.5') : 'refresh.off')] as const,
        )}
        chosen={every ? String(every / 1000) : ''}
        onChoose={setEvery}
      />
      <Button
        variant="plain"
        aria-label={t('refresh.now')}
        icon={<SyncAltIcon className={busy ? 'nv-spin' : undefined} />}
        onClick={() => void queries.invalidateQueries()}
      />
      {custom && <Custom range={range} onChoose={setRange} onClose={() => setCustom(false)} />}
    </Flex>
  );
}

interface ChoiceProps {
  label: string;
  shown: string;
  options: (readonly [string, string])[];
  chosen: string;
  icon?: React.ReactNode;
  onChoose: (value: string) => void;
}

/** One of a few. */
export function Choice({ label, shown, options, chosen, icon, onChoose }: ChoiceProps) {
  const [open, setOpen] = useState(false);
  return (
    <Select
      isOpen={open}
      onOpenChange={setOpen}
      selected={chosen}
      isScrollable
      onSelect={(_, value) => {
        setOpen(false);
        onChoose(String(value));
      }}
      toggle={(ref) => (
        <MenuToggle
          ref={ref}
          aria-label={`${label}: ${shown}`}
          icon={icon}
          isExpanded={open}
          onClick={() => setOpen(!open)}
        >
          {shown}
        </MenuToggle>
      )}
    >
      <SelectList aria-label={label}>
        {options.map(([value, text]) => (
          <SelectOption key={value} value={value}>
            {text}
          </SelectOption>
        ))}
      </SelectList>
    </Select>
  );
}

function Custom({ range, onChoose, onClose }: { range: Range; onChoose: (range: Range) => void; onClose: () => void }) {
  const { t } = useTranslation();
  const [since, setSince] = useState(() => asDate(range.since) ?? new Date(Date.now() - 3_600_000));
  const [until, setUntil] = useState(() => asDate(range.until) ?? new Date());
  const wrong = until <= since;
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-label={t('range.label')}>
      <ModalHeader title={t('range.label')} />
      <ModalBody>
        <Moment label={t('range.from')} at={since} onChange={setSince} />
        <Moment label={t('range.to')} at={until} onChange={setUntil} />
        {wrong && (
          <HelperText>
            <HelperTextItem variant="error">{t('range.wrong')}</HelperTextItem>
          </HelperText>
        )}
      </ModalBody>
      <ModalFooter>
        <Button
          isDisabled={wrong}
          onClick={() => {
            onChoose({ since: since.toISOString(), until: until.toISOString() });
            onClose();
          }}
        >
          {t('range.apply')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('range.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  );
}

function Moment({ label, at, onChange }: { label: string; at: Date; onChange: (at: Date) => void }) {
  const two = (n: number) => String(n).padStart(2, '0');
  return (
    <FormGroup label={label} role="group">
      <DatePicker
        value={`${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`}
        inputProps={{ 'aria-label': label }}
        onChange={(_, __, day) => {
          if (day && !Number.isNaN(day.getTime())) {
            const next = new Date(at);
            next.setFullYear(day.getFullYear(), day.getMonth(), day.getDate());
            onChange(next);
          }
        }}
      />
      <TimePicker
        is24Hour
        includeSeconds
        time={`${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`}
        onChange={(_, __, hours, minutes, seconds) => {
          if (hours !== undefined && minutes !== undefined) {
            const next = new Date(at);
            next.setHours(hours, minutes, seconds ?? 0, 0);
            onChange(next);
          }
        }}
      />
    </FormGroup>
  );
}

function asDate(time: string): Date | undefined {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
