import {
  Button,
  Masthead,
  MastheadBrand,
  MastheadContent,
  MastheadLogo,
  MastheadMain,
  MastheadToggle,
  Nav,
  NavItem,
  NavList,
  Page,
  PageSidebar,
  PageSidebarBody,
  PageToggleButton,
  SkipToContent,
  Toolbar,
  ToolbarContent,
  ToolbarGroup,
  ToolbarItem,
} from '@patternfly/react-core';
import { BarsIcon, KeyboardIcon, MoonIcon, SunIcon } from '@patternfly/react-icons';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, NavLink, Outlet, useLocation, useNavigate } from 'react-router-dom';
import { useKeys } from '../state/keys';
import { useTo } from '../state/url';
import { KeyHelp } from './KeyHelp';
import { PAGES } from './pages';
import { useTheme } from './theme';

const MAIN = 'main';

/** Masthead, menu, keys; the page is inside. */
export function Frame() {
  const { t } = useTranslation();
  const { pathname } = useLocation();
  const navigate = useNavigate();
  const [help, setHelp] = useState(false);
  const [dark, setDark] = useTheme();
  const to = useTo();
  useKeys({
    '?': () => setHelp(true),
    ...Object.fromEntries(PAGES.map(({ key, path }) => [`g ${key}`, () => navigate(to(path))])),
  });
  const masthead = (
    <Masthead>
      <MastheadMain>
        <MastheadToggle>
          <PageToggleButton isHamburgerButton aria-label={t('nav.toggle')}>
            <BarsIcon />
          </PageToggleButton>
        </MastheadToggle>
        <MastheadBrand>
          <MastheadLogo component={(props) => <Link {...props} to={to('/traffic')} />} className="nv-logo">
            <img src="/icon.svg" alt="" /> {t('product')}
          </MastheadLogo>
        </MastheadBrand>
      </MastheadMain>
      <MastheadContent>
        <Toolbar isFullHeight>
          <ToolbarContent>
            <ToolbarGroup align={{ default: 'alignEnd' }} variant="action-group-plain">
              <ToolbarItem>
                <Button
                  variant="plain"
                  aria-label={t('keys.show')}
                  icon={<KeyboardIcon />}
                  onClick={() => setHelp(true)}
                />
              </ToolbarItem>
              <ToolbarItem>
                <Button
                  variant="plain"
                  aria-label={t(dark ? 'theme.light' : 'theme.dark')}
                  icon={dark ? <SunIcon /> : <MoonIcon />}
                  onClick={() => setDark(!dark)}
                />
              </ToolbarItem>
            </ToolbarGroup>
          </ToolbarContent>
        </Toolbar>
      </MastheadContent>
    </Masthead>
  );
  const menu = (
    <PageSidebar>
      <PageSidebarBody>
        <Nav aria-label={t('nav.label')}>
          <NavList>
            {PAGES.map(({ name, path }) => (
              <NavItem key={name} isActive={pathname.startsWith(path)}>
                <NavLink to={to(path)}>{t('title', { ns: name })}</NavLink>
              </NavItem>
            ))}
          </NavList>
        </Nav>
      </PageSidebarBody>
    </PageSidebar>
  );
  return (
    <Page
      masthead={masthead}
      sidebar={menu}
      isManagedSidebar
      mainContainerId={MAIN}
      skipToContent={<SkipToContent href={`#${MAIN}`}>{t('skip')}</SkipToContent>}
    >
      <Outlet />
      {help && <KeyHelp onClose={() => setHelp(false)} />}
    </Page>
  );
}
