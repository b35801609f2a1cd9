import { useEffect } from 'react';

/** True where what is typed is text. */
function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  );
}

/** Calls back for keys that are typed outside of text, such as `/` or `g t` for one after the other. */
export function useKeys(keys: Record<string, (() => void) | undefined>) {
  useEffect(() => {
    let before = '';
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (isTyping(event.target)) return;
      const call = keys[`${before} ${event.key}`] ?? keys[event.key];
      before = event.key;
      if (!call) return;
      event.preventDefault();
      call();
    };
    document.addEventListener('keydown', listen);
    return () => document.removeEventListener('keydown', listen);
  });
}
