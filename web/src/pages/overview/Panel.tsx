import { Card, CardBody, CardFooter, CardTitle } from '@patternfly/react-core';
import type { ReactNode } from 'react';
import { Link, type To } from 'react-router-dom';

interface Props {
  title: string;
  /** Where there is more. */
  more?: { to: To; text: string };
  className?: string;
  children: ReactNode;
}

/** One thing worth a look, and the way to all of it. */
export function Panel({ title, more, className, children }: Props) {
  return (
    <Card isCompact className={className}>
      <CardTitle component="h2">{title}</CardTitle>
      <CardBody>{children}</CardBody>
      {more && (
        <CardFooter>
          <Link to={more.to}>{more.text}</Link>
        </CardFooter>
      )}
    </Card>
  );
}
