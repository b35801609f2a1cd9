import { Flex, Title } from '@patternfly/react-core';
import { RangePicker } from './RangePicker';

/** The title of a page that asks about a time, and the time. */
export function PageHead({ title }: { title: string }) {
  return (
    <Flex justifyContent={{ default: 'justifyContentSpaceBetween' }} rowGap={{ default: 'rowGapSm' }}>
      <Title headingLevel="h1">{title}</Title>
      <RangePicker />
    </Flex>
  );
}
