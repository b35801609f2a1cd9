import { useState } from 'react';

/** A choice of the user that this browser remembers, such as columns. */
export function useStored<T>(name: string, otherwise: T): [T, (value: T) => void] {
  const key = `netverdict.${name}`;
  const [value, setValue] = useState<T>(() => {
    try {
      const text = localStorage.getItem(key);
      return text === null ? otherwise : (JSON.parse(text) as T);
    } catch {
      return otherwise;
    }
  });
  const set = (value: T) => {
    setValue(value);
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // A browser that keeps nothing (private mode, a full disk) forgets the choice with the tab.
    }
  };
  return [value, set];
}
