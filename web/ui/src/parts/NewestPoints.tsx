// The newest recovery points of a machine, a plan or all, in short, with the way to all of them.
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { points as pointsQuery, type PointFilter } from '../api/queries';
import { newestProved } from '../logic/pointState';
import { PointLink } from './PointLink';
import { PointStateWord } from './PointState';
import { Sheet } from './Screen';
import { Read } from './states';
import { When } from './When';
import classes from './NewestPoints.module.css';

const SHOWN = 5;
/** Among so many the newest proved one is looked for. */
const LOOKED_AT = 50;

export function NewestPoints({ filter, all }: { filter: PointFilter; all: string }) {
  const { t } = useTranslation();
  const found = useQuery(pointsQuery(filter, LOOKED_AT));
  return (
    <Sheet title={t('points.newest')} actions={<Link to={all}>{t('points.all')}</Link>}>
      <Read query={found} lines={2}>
        {(page) => {
          const proved = newestProved(page.items);
          if (page.items.length === 0) return <p className="soft">{t('points.none')}</p>;
          return (
            <div className="stack tight">
              <p className="soft small">{proved ? <>{t('points.provedLast')} <When at={proved.received_at} /></> : t('points.provedNone')}</p>
              <ul className={classes.list}>
                {page.items.slice(0, SHOWN).map((point) => (
                  <li key={point.id} className={classes.point}>
                    <span className={classes.name}>
                      <PointLink point={point} />
                    </span>
                    <PointStateWord point={point} />
                    <span className="soft small">
                      {point.agent ?? point.host} · <When at={point.received_at} />
                    </span>
                  </li>
                ))}
              </ul>
            </div>
          );
        }}
      </Read>
    </Sheet>
  );
}
