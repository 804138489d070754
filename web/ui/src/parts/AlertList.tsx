// Alerts: what happened, since when, and what to do.
import { useTranslation } from 'react-i18next';
import type { Alert } from '../api/queries';
import classes from './AlertList.module.css';
import { Advice } from './Advice';
import { State } from './State';
import { sentence } from './states';
import { When } from './When';

export function AlertList({ items }: { items: Alert[] }) {
  const { t } = useTranslation();
  return (
    <ul className={classes.alerts}>
      {items.map((alert) => (
        <li key={alert.id} className={classes.alert} data-over={alert.cleared_at ? true : undefined}>
          <div className="row tight apart">
            <span className="row tight">
              <State tone={alert.cleared_at ? 'none' : 'bad'}>{t(`alertKind.${alert.kind}`, { defaultValue: alert.kind })}</State>
              <strong>{alert.subject}</strong>
            </span>
            <span className="faint">
              <When at={alert.raised_at} />
              {alert.cleared_at && (
                <>
                  {' '}
                  · {t('alerts.over')} <When at={alert.cleared_at} />
                </>
              )}
            </span>
          </div>
          <p className="small">{sentence(alert.what)}</p>
          {alert.next && !alert.cleared_at && <Advice text={alert.next} />}
        </li>
      ))}
    </ul>
  );
}
