import { Flex, Title } from '@patternfly/react-core';
import { RangePicker } from './RangePicker';

/** The title of a page that asks about a time, and the time; since `usual` if nobody chose. */
export function PageHead({ title, usual }: { title: string; usual?: string }) {
  return (
    <Flex justifyContent={{ default: 'justifyContentSpaceBetween' }} rowGap={{ default: 'rowGapSm' }}>
      <Title headingLevel="h1">{title}</Title>
      <RangePicker usual={usual} />
    </Flex>
  );
}
