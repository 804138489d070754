// The frame of what is shown to who is not logged in.
import { useEffect, type ReactNode } from 'react';
import { Light, Tongue } from '../app/Shell';
import classes from './Door.module.css';
import { Mark } from './Mark';

export function Door({ title, children }: { title: string; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Icecore`;
  }, [title]);
  return (
    <main className={classes.door}>
      <div className={classes.core} aria-hidden="true" />
      <div className={classes.card}>
        <p className={classes.brand}>
          <Mark size={26} /> Icecore
        </p>
        <h1 className={classes.title}>{title}</h1>
        {children}
      </div>
      <div className={classes.foot}>
        <Tongue />
        <Light />
      </div>
    </main>
  );
}
