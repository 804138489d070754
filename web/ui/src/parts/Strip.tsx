// The core of a machine: thirty days as layers of ice.
import { useTranslation } from 'react-i18next';
import type { Layer } from '../logic/strip';
import { bytes, day as dayName } from '../logic/units';
import classes from './Strip.module.css';

export function Strip({ layers, label }: { layers: Layer[]; label: string }) {
  const { t, i18n } = useTranslation();
  const count = (kinds: Layer['kind'][]) => layers.filter((layer) => kinds.includes(layer.kind)).length;
  const summary = t('strip.summary', { label, days: layers.length, good: count(['good']), bad: count(['bad', 'mixed']), none: count(['none']) });
  function told(layer: Layer): string {
    const name = dayName(new Date(`${layer.day}T12:00:00`), i18n.language);
    if (!layer.of) return `${name}: ${t(`strip.${layer.kind}`)}`;
    const { succeeded, failed, stored_bytes } = layer.of;
    const parts = [t('strip.succeeded', { count: succeeded })];
    if (failed) parts.push(t('strip.failed', { count: failed }));
    if (succeeded) parts.push(t('strip.stored', { size: bytes(stored_bytes, i18n.language) }));
    return `${name}: ${parts.join(', ')}`;
  }
  return (
    <div className={classes.strip} role="img" aria-label={summary}>
      {layers.map((layer) => (
        <span key={layer.day} className={classes.layer} data-kind={layer.kind} data-depth={layer.depth} title={told(layer)} />
      ))}
    </div>
  );
}

/** What the colours of the strips mean. */
export function StripLegend() {
  const { t } = useTranslation();
  return (
    <ul className={classes.legend} aria-label={t('strip.legend')}>
      <li>
        {[1, 2, 3, 4].map((depth) => (
          <span key={depth} className={classes.sample} data-kind="good" data-depth={depth} />
        ))}
        {t('strip.legendGood')}
      </li>
      {(['mixed', 'bad', 'none'] as const).map((kind) => (
        <li key={kind}>
          <span className={classes.sample} data-kind={kind} /> {t(`strip.legend_${kind}`)}
        </li>
      ))}
    </ul>
  );
}
