import { useCallback } from 'react';
import { useTranslation } from 'react-i18next';
import { rate, type Place } from './graph';

/** What people call a place; `isShort` without its namespace. */
export function usePlaceName() {
  const { t } = useTranslation('topology');
  return useCallback(
    (place: Place, isShort = false): string => {
      const { namespace, name, kind } = place;
      if (name) return namespace && !isShort ? `${namespace}/${name}` : name;
      if (namespace) return namespace;
      return t(`common:end.kind.${kind || 'none'}`);
    },
    [t],
  );
}

/** How often something was seen, such as `12/s`. */
export function useRate() {
  const { t } = useTranslation('topology');
  return useCallback(
    (count: number, seconds: number, isBytes = false): string => {
      const { value, per } = rate(count, seconds);
      return t(`per.${per}`, { value: isBytes ? bytes(value) : short(value) });
    },
    [t],
  );
}

function short(value: number): string {
  return value.toLocaleString(undefined, { maximumSignificantDigits: value < 100 ? 2 : 3, notation: 'compact' });
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

function bytes(value: number): string {
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${short(value)} ${UNITS[unit]}`;
}
