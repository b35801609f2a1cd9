import { useEffect } from 'react';
import { useStored } from '../state/stored';

/** Whether the dark theme is on: as the user chose, else as their system says. */
export function useTheme(): [boolean, (dark: boolean) => void] {
  const [chosen, choose] = useStored<boolean | null>('dark', null);
  const dark = chosen ?? matchMedia('(prefers-color-scheme: dark)').matches;
  useEffect(() => {
    document.documentElement.classList.toggle('pf-v6-theme-dark', dark);
  }, [dark]);
  return [dark, choose];
}
