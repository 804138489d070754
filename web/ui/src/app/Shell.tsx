// What stands round every screen: where one can go, who one is, and whether what is shown is live.
import { ActionIcon, Menu, Tooltip, UnstyledButton, useMantineColorScheme } from '@mantine/core';
import {
  IconApi, IconBell, IconCalendarRepeat, IconDatabase, IconDeviceDesktop, IconLanguage, IconLayoutDashboard, IconLogout,
  IconMenu2, IconMoon, IconProgress, IconServer2, IconStack2, IconSettings, IconShieldLock, IconSun, IconUserCircle, IconX,
} from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Suspense, useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, NavLink, Outlet, useLocation, useNavigate } from 'react-router';
import { api, ask } from '../api/client';
import { follow, type Connection } from '../api/live';
import { alerts, settings } from '../api/queries';
import { isSpoken, LANGUAGES, speak, type Language } from '../i18n/language';
import { Mark } from '../parts/Mark';
import { Loading } from '../parts/states';
import { useMay, useSession } from './session';
import classes from './Shell.module.css';

export function Shell() {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const place = useLocation();
  const [isOpen, setOpen] = useState(false);
  const [connection, setConnection] = useState<Connection>('connecting');
  useEffect(() => follow(queries, setConnection), [queries]);
  useEffect(() => setOpen(false), [place.pathname]);
  return (
    <div className={classes.shell} data-open={isOpen || undefined}>
      <a href="#content" className={classes.skip}>
        {t('nav.skip')}
      </a>
      <header className={classes.bar}>
        <ActionIcon variant="subtle" color="gray" onClick={() => setOpen(!isOpen)} aria-expanded={isOpen} aria-label={t('nav.menu')}>
          {isOpen ? <IconX size={20} /> : <IconMenu2 size={20} />}
        </ActionIcon>
        <Link to="/" className={classes.brand}>
          <Mark size={22} /> Icecore
        </Link>
        <Live connection={connection} isShort />
      </header>
      <aside className={classes.side}>
        <Link to="/" className={classes.brand}>
          <Mark size={26} />
          <span>
            Icecore
            <Appliance />
          </span>
        </Link>
        <Places />
        <div className={classes.foot}>
          <Live connection={connection} />
          <div className="row tight apart">
            <Person />
            <span className="row tight">
              <Tongue />
              <Light />
            </span>
          </div>
        </div>
      </aside>
      <main className={classes.content} id="content" tabIndex={-1}>
        {connection === 'lost' && (
          <p className={classes.lost} role="status">
            {t('live.lostLong')}
          </p>
        )}
        <Suspense fallback={<Loading />}>
          <Outlet />
        </Suspense>
      </main>
    </div>
  );
}

function Appliance() {
  const found = useQuery(settings);
  return <span className={classes.appliance}>{found.data?.appliance_name ?? ' '}</span>;
}

function Places() {
  const { t } = useTranslation();
  const lasting = useQuery(alerts(true));
  const mayAudit = useMay('audit');
  const count = lasting.data?.items.length ?? 0;
  const places = [
    { to: '/', text: t('nav.overview'), Icon: IconLayoutDashboard },
    { to: '/machines', text: t('nav.machines'), Icon: IconServer2 },
    { to: '/plans', text: t('nav.plans'), Icon: IconCalendarRepeat },
    { to: '/points', text: t('nav.points'), Icon: IconStack2 },
    { to: '/jobs', text: t('nav.jobs'), Icon: IconProgress },
    { to: '/repositories', text: t('nav.repositories'), Icon: IconDatabase },
    { to: '/alerts', text: t('nav.alerts'), Icon: IconBell, count },
    ...(mayAudit ? [{ to: '/security', text: t('nav.security'), Icon: IconShieldLock }] : []),
    { to: '/settings', text: t('nav.settings'), Icon: IconSettings },
    { to: '/api', text: t('nav.api'), Icon: IconApi },
  ];
  return (
    <nav aria-label={t('nav.label')}>
      <ul className={classes.places}>
        {places.map(({ to, text, Icon, count }) => (
          <li key={to}>
            <NavLink to={to} end={to === '/'} className={({ isActive }) => (isActive ? `${classes.place} ${classes.here}` : classes.place)}>
              <Icon size={18} stroke={1.6} aria-hidden="true" />
              <span className="grow">{text}</span>
              {count ? <span className={classes.count}>{count}</span> : null}
            </NavLink>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function Live({ connection, isShort }: { connection: Connection; isShort?: boolean }) {
  const { t } = useTranslation();
  return (
    <Tooltip label={t(`live.${connection}Long`)}>
      <span className={classes.live} data-connection={connection} tabIndex={0} role="img" aria-label={t(`live.${connection}`)}>
        <span className={classes.dot} aria-hidden="true" /> {isShort ? null : t(`live.${connection}`)}
      </span>
    </Tooltip>
  );
}

function Person() {
  const { t } = useTranslation();
  const session = useSession();
  const go = useNavigate();
  async function logOut() {
    await ask(api.DELETE('/api/v1/session'));
    // Loaded anew, so that nothing of the person's stays in memory.
    window.location.assign('/');
  }
  return (
    <Menu position="top-start" width={200}>
      <Menu.Target>
        <UnstyledButton className={classes.person}>
          <IconUserCircle size={20} stroke={1.6} aria-hidden="true" />
          <span>
            <span className={classes.name}>{session.name}</span>
            <span className={classes.role}>{t(`role.${session.role}`)}</span>
          </span>
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconUserCircle size={16} />} onClick={() => void go('/account')}>
          {t('nav.account')}
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => void logOut()}>
          {t('nav.logOut')}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

export function Tongue() {
  const { t } = useTranslation();
  return (
    <Menu position="top-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" className={classes.quiet} aria-label={t('nav.language')}>
          <IconLanguage size={18} stroke={1.6} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {(Object.keys(LANGUAGES) as Language[]).map((language) => (
          <Menu.Item key={language} lang={language} disabled={isSpoken(language)} onClick={() => void speak(language)}>
            {LANGUAGES[language]}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

export function Light() {
  const { t } = useTranslation();
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  const schemes = { auto: IconDeviceDesktop, light: IconSun, dark: IconMoon } as const;
  const Icon = schemes[colorScheme];
  return (
    <Menu position="top-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" className={classes.quiet} aria-label={t('nav.scheme')}>
          <Icon size={18} stroke={1.6} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {(Object.keys(schemes) as (keyof typeof schemes)[]).map((scheme) => {
          const Each = schemes[scheme];
          return (
            <Menu.Item key={scheme} leftSection={<Each size={16} />} disabled={scheme === colorScheme} onClick={() => setColorScheme(scheme)}>
              {t(`scheme.${scheme}`)}
            </Menu.Item>
          );
        })}
      </Menu.Dropdown>
    </Menu>
  );
}
