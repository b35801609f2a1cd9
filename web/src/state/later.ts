import { useEffect, useState } from 'react';

/** The value as it was when it last stood still for so long. */
export function useLater<T>(value: T, milliseconds: number): T {
  const [later, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return later;
}
