// The frame of a screen: its name, what it is about, what can be done there. And the sheets that it is made of.
import { Anchor } from '@mantine/core';
import { IconChevronLeft } from '@tabler/icons-react';
import { useEffect, type ReactNode } from 'react';
import { Link } from 'react-router';
import classes from './Screen.module.css';

interface ScreenProps {
  title: string;
  lead?: ReactNode;
  back?: { to: string; text: string };
  actions?: ReactNode;
  children: ReactNode;
}

export function Screen({ title, lead, back, actions, children }: ScreenProps) {
  useEffect(() => {
    document.title = `${title} · Icecore`;
  }, [title]);
  return (
    <div className={classes.screen}>
      <header className={classes.head}>
        <div className={classes.names}>
          {back && (
            <Anchor component={Link} to={back.to} className={classes.back}>
              <IconChevronLeft size={15} aria-hidden="true" /> {back.text}
            </Anchor>
          )}
          <h1 className={classes.title}>{title}</h1>
          {lead && <div className={classes.lead}>{lead}</div>}
        </div>
        {actions && <div className={classes.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}

interface SheetProps {
  title?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  /** Without inner margins, for lists that reach from edge to edge. */
  isFlush?: boolean;
  id?: string;
}

export function Sheet({ title, actions, children, isFlush, id }: SheetProps) {
  return (
    <section className={classes.sheet} id={id}>
      {(title || actions) && (
        <div className={classes.sheetHead}>
          {title && <h2 className={classes.sheetTitle}>{title}</h2>}
          {actions && <div className="row tight">{actions}</div>}
        </div>
      )}
      <div className={isFlush ? undefined : classes.sheetBody}>{children}</div>
    </section>
  );
}

/** Names with their values, in columns where there is room. */
export function Facts({ items }: { items: [string, ReactNode][] }) {
  return (
    <dl className={classes.facts}>
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
