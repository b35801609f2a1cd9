import { useCallback } from 'react';
import { useSearchParams } from 'react-router-dom';

/**
 * A piece of the page's state that lives in its address, so that a copied link shows the same. What is as
 * `otherwise` says is not written. `push` makes a step that the browser's back button undoes.
 */
export function useUrl(name: string, otherwise = ''): [string, (value: string, push?: boolean) => void] {
  const [params, change] = useSearchParams();
  const set = useCallback(
    (value: string, push = false) =>
      change(
        (params) => {
          const next = new URLSearchParams(params);
          if (value === otherwise) next.delete(name);
          else next.set(name, value);
          return next;
        },
        { replace: !push },
      ),
    [change, name, otherwise],
  );
  return [params.get(name) ?? otherwise, set];
}
