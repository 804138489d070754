// Something to know before one goes on; no failure.
import type { ReactNode } from 'react';
import classes from './Note.module.css';

export function Note({ title, children, isUrgent }: { title: string; children?: ReactNode; isUrgent?: boolean }) {
  return (
    <div className={classes.note} role={isUrgent ? 'alert' : undefined}>
      <p className={classes.title}>{title}</p>
      {children}
    </div>
  );
}
