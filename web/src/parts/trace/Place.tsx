import { Tooltip } from '@patternfly/react-core';
import { Link } from 'react-router-dom';
import type { Source } from './types';
import { placeOf, policyHref, policyOf } from './words';

/** An object, its rule, and the line where that is written. */
export function Place({ source }: { source: Source }) {
  const { policy, rule } = policyOf(source);
  const place = placeOf(source);
  return (
    <span className="nv-place">
      <Link to={policyHref(policy, rule)}>
        {source.object}
        {source.rule && ` ${source.rule}`}
      </Link>
      {place && (
        <>
          {' '}
          <Tooltip content={source.file}>
            <code>{place}</code>
          </Tooltip>
        </>
      )}
    </span>
  );
}
