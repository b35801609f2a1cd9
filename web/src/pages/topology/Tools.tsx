import { Button, Flex, FormSelect, FormSelectOption, ToggleGroup, ToggleGroupItem } from '@patternfly/react-core';
import { DownloadIcon, ExpandArrowsAltIcon } from '@patternfly/react-icons';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { groupsOf, LEVELS, MEASURES, type Group, type Level, type Measure } from './graph';

export const SHOWS = ['both', 'picture', 'list'] as const;
export type Show = (typeof SHOWS)[number];

interface Props {
  by: Level;
  group: Group;
  measure: Measure;
  show: Show;
  onBy: (by: Level) => void;
  onGroup: (group: string) => void;
  onMeasure: (measure: string) => void;
  onShow: (show: string) => void;
  onFit: () => void;
  onSave: () => void;
  children: ReactNode;
}

/** What the picture shows and how. */
export function Tools(props: Props) {
  const { by, group, measure, show, onBy, onGroup, onMeasure, onShow, onFit, onSave, children } = props;
  const { t } = useTranslation('topology');
  const groups = groupsOf(by);
  return (
    <Flex className="nv-tools" spaceItems={{ default: 'spaceItemsSm' }} rowGap={{ default: 'rowGapSm' }}>
      <ToggleGroup aria-label={t('by.label')}>
        {LEVELS.map((level) => (
          <ToggleGroupItem
            key={level}
            text={t(`by.${level}`)}
            title={level === 'workload' ? t('byHint') : undefined}
            isSelected={level === by}
            onChange={() => onBy(level)}
          />
        ))}
      </ToggleGroup>
      {children}
      {groups.length > 1 && (
        <Choice label={t('group.label')} value={group} onChange={onGroup}>
          {groups.map((group) => [group, t(`group.${group}`)])}
        </Choice>
      )}
      <Choice label={t('measure.label')} value={measure} onChange={onMeasure}>
        {MEASURES.map((measure) => [measure, t(`measure.${measure}`)])}
      </Choice>
      <Choice label={t('show.label')} value={show} onChange={onShow}>
        {SHOWS.map((show) => [show, t(`show.${show}`)])}
      </Choice>
      {show !== 'list' && (
        <span>
          <Button
            variant="plain"
            icon={<ExpandArrowsAltIcon />}
            aria-label={t('fit')}
            title={t('fit')}
            onClick={onFit}
          />
          <Button variant="plain" icon={<DownloadIcon />} aria-label={t('png')} title={t('png')} onClick={onSave} />
        </span>
      )}
    </Flex>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  children: [string, string][];
}

function Choice({ label, value, onChange, children }: ChoiceProps) {
  return (
    <FormSelect
      className="nv-choice"
      aria-label={label}
      title={label}
      value={value}
      onChange={(_, value) => onChange(value)}
    >
      {children.map(([value, text]) => (
        <FormSelectOption key={value} value={value} label={text} />
      ))}
    </FormSelect>
  );
}
