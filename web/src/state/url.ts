import { useCallback } from 'react';
import { useSearchParams, type To } from 'react-router-dom';

/**
 * A piece of the page's state that lives in its address, so that a copied link shows the same. What is as
 * `otherwise` says is not written. `push` makes a step that the browser's back button undoes. Several pieces
 * that change together are set with `useUrls`: of two calls one after the other only the last one counts.
 */
export function useUrl(name: string, otherwise = ''): [string, (value: string, push?: boolean) => void] {
  const [params] = useSearchParams();
  const change = useUrls();
  const set = useCallback(
    (value: string, push = false) => change({ [name]: value === otherwise ? null : value }, push),
    [change, name, otherwise],
  );
  return [params.get(name) ?? otherwise, set];
}

/** Changes several pieces at once; null takes one away. */
export function useUrls(): (pieces: Record<string, string | null>, push?: boolean) => void {
  const [, change] = useSearchParams();
  return useCallback(
    (pieces, push = false) =>
      change(
        (params) => {
          const next = new URLSearchParams(params);
          for (const [name, value] of Object.entries(pieces)) {
            if (value === null) next.delete(name);
            else next.set(name, value);
          }
          return next;
        },
        { replace: !push },
      ),
    [change],
  );
}

/** What goes along from page to page: the time that is asked about. */
const KEPT = ['since', 'until', 'refresh'];

/** Makes links to other pages that ask about the same time. */
export function useTo(): (pathname: string, params?: Record<string, string>) => To {
  const [now] = useSearchParams();
  return (pathname, params = {}) => {
    const next = new URLSearchParams();
    for (const name of KEPT) for (const value of now.getAll(name)) next.set(name, value);
    for (const [name, value] of Object.entries(params)) next.set(name, value);
    return { pathname, search: next.toString() };
  };
}
