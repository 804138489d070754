// How far a job is: its stages in their order, and where the time goes.
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { bottleneck, shareParts } from '../logic/progress';
import { bytes, duration, number } from '../logic/units';
import classes from './Stages.module.css';

type Stage = Schemas['JobStage'];

export function Stages({ stages }: { stages: Stage[] }) {
  const { t, i18n } = useTranslation();
  const amount = (stage: Stage, value: number) =>
    stage.unit === 'bytes' ? bytes(value, i18n.language) : number(value, i18n.language);
  return (
    <ol className={classes.stages}>
      {stages.map((stage, at) => {
        const share = stage.ended ? 1 : stage.total ? Math.min(1, stage.done / stage.total) : undefined;
        return (
          <li key={`${at}-${stage.name}`} className={classes.stage} data-ended={stage.ended || undefined}>
            <div className="row apart tight">
              <span className={classes.name}>{t(`stage.${stage.name}`, { defaultValue: stage.name })}</span>
              <span className="faint numbers">
                {amount(stage, stage.done)}
                {stage.total && !stage.ended ? ` / ${amount(stage, stage.total)}` : ''}
                {!stage.ended && stage.per_s > 0 ? ` · ${amount(stage, stage.per_s)}/s` : ''}
                {` · ${duration(stage.took_ms)}`}
              </span>
            </div>
            <div
              className={classes.track}
              role="progressbar"
              aria-label={t(`stage.${stage.name}`, { defaultValue: stage.name })}
              aria-valuemin={0}
              aria-valuemax={100}
              aria-valuenow={share === undefined ? undefined : Math.round(100 * share)}
            >
              <span className={classes.fill} data-unknown={share === undefined || undefined} style={{ width: `${100 * (share ?? 1)}%` }} />
            </div>
          </li>
        );
      })}
    </ol>
  );
}

export function Shares({ shares }: { shares: Schemas['TimeShares'] }) {
  const { t } = useTranslation();
  const parts = shareParts(shares);
  const most = bottleneck(shares);
  if (parts.length === 0 || !most) return null;
  return (
    <div className="stack tight">
      <p className="small">{t(`bottleneck.${most.name}`, { percent: Math.round(most.share / 10) })}</p>
      <div className={classes.shares} role="img" aria-label={parts.map((part) => `${t(`share.${part.name}`)} ${Math.round(part.share / 10)} %`).join(', ')}>
        {parts.map((part) => (
          <span key={part.name} data-share={part.name} style={{ flexGrow: part.share }} title={`${t(`share.${part.name}`)} ${Math.round(part.share / 10)} %`} />
        ))}
      </div>
      <ul className={classes.legend}>
        {parts.map((part) => (
          <li key={part.name}>
            <span data-share={part.name} className={classes.sample} /> {t(`share.${part.name}`)} <span className="numbers">{Math.round(part.share / 10)} %</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
