// A recovery point by the name that people know, and its page.
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import type { RecoveryPoint } from '../api/queries';
import { number } from '../logic/units';

/** The server knows a point's name only once the repository's keeper told it. */
export function usePointName(): (point: RecoveryPoint) => string {
  const { t, i18n } = useTranslation();
  return (point) => `${point.name ?? point.plan ?? t('points.unnamed')} #${number(point.sequence, i18n.language)}`;
}

export function PointLink({ point }: { point: RecoveryPoint }) {
  const name = usePointName();
  return (
    <>
      <Link to={`/points/${point.id}`}>{name(point)}</Link> <span className="mono faint">{point.id.slice(0, 8)}</span>
    </>
  );
}
