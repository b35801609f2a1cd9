import { memo } from 'react';
import {
  Button,
  Content,
  DrawerActions,
  DrawerCloseButton,
  DrawerHead,
  DrawerPanelBody,
  DrawerPanelContent,
  ExpandableSection,
  Flex,
  Tab,
  Tabs,
  TabTitleText,
  Title,
} from '@patternfly/react-core';
import { useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router-dom';
import type { Connection } from '../../api/client';
import { endName } from '../../parts/ends';
import { Rule } from '../../parts/Rule';
import { RuleYaml } from '../../parts/RuleYaml';
import { Asked } from '../../parts/states';
import { Time } from '../../parts/Time';
import { Verdict } from '../../parts/Verdict';
import { useTo, useUrl } from '../../state/url';
import { putDraft } from '../../state/whatif';
import { Counters } from './Counters';
import { FactList } from './FactList';
import { factsOf, halfFacts } from './facts';
import { print } from './query';
import { Raw } from './Raw';
import { useConnection } from './useConnections';
import type { Filters } from './useFilters';
import { questionOf, Why } from './Why';

interface DetailsProps {
  id: string;
  /** As much of it as the table has. */
  known: Connection | undefined;
  filters: Filters;
  onClose: () => void;
}

/** All of one connection, beside the table. */
export const Details = memo(function Details({ id, known, filters, onClose }: DetailsProps) {
  const { t } = useTranslation('traffic');
  const [tab, setTab] = useUrl('tab', 'details');
  const asked = useConnection(id, known);
  const heading = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    // It is hidden until the drawer has opened: keys go on from here, not through all lines of the table.
    const frame = requestAnimationFrame(() => heading.current?.focus({ preventScroll: true }));
    return () => cancelAnimationFrame(frame);
  }, []);
  return (
    <DrawerPanelContent
      isResizable
      defaultSize="30rem"
      minSize="20rem"
      resizeAriaLabel={t('drawer.resize')}
      aria-label={t('drawer.title')}
      data-testid="drawer"
    >
      <DrawerHead>
        <Title headingLevel="h2" size="lg">
          <span ref={heading} tabIndex={-1}>
            {asked.data ? (
              <>
                <Verdict verdict={asked.data.verdict} /> {endName(asked.data.src)} → {endName(asked.data.dst)}
              </>
            ) : (
              t('drawer.title')
            )}
          </span>
        </Title>
        <DrawerActions>
          <DrawerCloseButton onClose={onClose} aria-label={t('drawer.close')} />
        </DrawerActions>
      </DrawerHead>
      <DrawerPanelBody>
        <Asked query={asked}>
          {(connection) => (
            <>
              <Actions connection={connection} />
              <Tabs activeKey={tab} onSelect={(_, key) => setTab(String(key))} aria-label={t('drawer.title')}>
                <Tab eventKey="details" title={<TabTitleText>{t('drawer.details')}</TabTitleText>}>
                  <Whole connection={connection} filters={filters} />
                </Tab>
                <Tab eventKey="raw" title={<TabTitleText>{t('drawer.raw')}</TabTitleText>}>
                  <Raw connection={connection} />
                </Tab>
              </Tabs>
            </>
          )}
        </Asked>
      </DrawerPanelBody>
    </DrawerPanelContent>
  );
});

/** Questions that other pages answer. */
function Actions({ connection }: { connection: Connection }) {
  const { t } = useTranslation('traffic');
  const to = useTo();
  const navigate = useNavigate();
  const { src, dst } = connection;
  const whatIf = () => {
    const ends = [
      { field: src.pod ? 'src.pod' : 'src.ip', value: src.pod ? endName(src) : src.ip },
      { field: dst.pod ? 'dst.pod' : 'dst.ip', value: dst.pod ? endName(dst) : dst.ip },
    ];
    const query = ends
      .map(({ field, value }) => print({ field, operator: '=', values: [value], negated: false }))
      .join(' and ');
    putDraft({ text: '', query });
    void navigate(to('/whatif', { q: query }));
  };
  return (
    <Flex spaceItems={{ default: 'spaceItemsSm' }}>
      <Button
        variant="secondary"
        size="sm"
        component={(props) => (
          <Link {...props} to={to('/explain', { ...questionOf(connection), at: connection.end })} />
        )}
      >
        {t('drawer.explain')}
      </Button>
      <Button variant="secondary" size="sm" onClick={whatIf}>
        {t('drawer.whatif')}
      </Button>
    </Flex>
  );
}

function Whole({ connection, filters }: { connection: Connection; filters: Filters }) {
  const { t } = useTranslation('traffic');
  const { egress, ingress, changes = [], counts } = connection;
  return (
    <div className="nv-whole">
      {(['egress', 'ingress'] as const).map((way) => {
        const half = { egress, ingress }[way];
        return (
          <section key={way} aria-label={t(`drawer.${way}`)}>
            <Title headingLevel="h3" size="md">
              {t(`drawer.${way}`)}
            </Title>
            {half ? (
              <>
                <Rule half={half} wrap />
                <RuleYaml half={half} />
                <ExpandableSection toggleText={t('drawer.more')} isIndented>
                  <FactList facts={halfFacts(half, way)} filters={filters} />
                </ExpandableSection>
              </>
            ) : (
              <Content component="small">{t('drawer.silent')}</Content>
            )}
          </section>
        );
      })}
      <section aria-label={t('why.title')}>
        <Title headingLevel="h3" size="md">
          {t('why.title')}
        </Title>
        <Why connection={connection} />
      </section>
      <section aria-label={t('counters.title')}>
        <Title headingLevel="h3" size="md">
          {t('counters.title')}
        </Title>
        <Counters counts={counts} />
      </section>
      {factsOf(connection).map(({ title, facts }) => (
        <section key={title} aria-label={t(`drawer.${title}`)}>
          <Title headingLevel="h3" size="md">
            {t(`drawer.${title}`)}
          </Title>
          <FactList facts={facts} filters={filters} />
        </section>
      ))}
      {changes.length > 0 && (
        <section aria-label={t('drawer.changes')}>
          <Title headingLevel="h3" size="md">
            {t('drawer.changes')}
          </Title>
          <ol className="nv-changes">
            {changes.map((change, index) => (
              <li key={index}>
                <Time at={change.since} /> {t(`drawer.${change.half}`)}, {change.node ?? change.zone}
                <Rule half={change} wrap />
              </li>
            ))}
          </ol>
        </section>
      )}
    </div>
  );
}
