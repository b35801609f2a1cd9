import { Tooltip } from '@patternfly/react-core';
import { Link } from 'react-router-dom';
import type { Source } from './types';
import { useTo } from '../../state/url';
import { placeOf, policyOf } from './words';

/** An object, its rule, and the line where that is written. */
export function Place({ source }: { source: Source }) {
  const to = useTo();
  const place = placeOf(source);
  return (
    <span className="nv-place">
      <Link to={to('/policies', policyOf(source))}>
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
