// One-time codes: an authenticator is bound by its QR code and one code of it; recovery codes for the day that it is lost.
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import qrcode from 'qrcode-generator';
import { api, ask, type Schemas } from '../api/client';
import { useAct } from '../parts/act';
import { CopyLine } from '../parts/CopyLine';
import { Sheet } from '../parts/Screen';
import { FailureNote } from '../parts/states';

type Step = { at: 'password' } | { at: 'scan'; offer: Schemas['TotpOffer'] } | { at: 'codes'; codes: string[] } | { at: 'removed' };

export function Authenticator() {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [step, setStep] = useState<Step>({ at: 'password' });
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const offer = useAct(async () => {
    setStep({ at: 'scan', offer: await ask(api.POST('/api/v1/account/totp', { body: { password } })) });
    setPassword('');
  });
  const confirm = useAct(async () => {
    const { codes } = await ask(api.POST('/api/v1/account/totp/confirm', { body: { code: code.trim() } }));
    setStep({ at: 'codes', codes });
    setCode('');
    void queries.invalidateQueries({ queryKey: ['users'] });
  }, t('totp.bound'));
  const remove = useAct(async () => {
    await ask(api.POST('/api/v1/account/totp/remove', { body: { password } }));
    setPassword('');
    setStep({ at: 'removed' });
    void queries.invalidateQueries({ queryKey: ['users'] });
  }, t('totp.removed'));
  const failure = offer.failure ?? confirm.failure ?? remove.failure;
  return (
    <Sheet title={t('totp.title')}>
      <div className="stack">
        {step.at === 'codes' ? (
          <>
            <p>{t('totp.codes')}</p>
            <CopyLine text={step.codes.join('\n')} label={t('totp.codesLabel')} />
            <div>
              <Button onClick={() => setStep({ at: 'password' })}>{t('totp.kept')}</Button>
            </div>
          </>
        ) : step.at === 'scan' ? (
          <form
            className="stack"
            onSubmit={(event) => {
              event.preventDefault();
              void confirm.run();
            }}
          >
            <p>{t('totp.scan')}</p>
            <Qr text={step.offer.url} label={t('totp.qr')} />
            <p className="faint">{t('totp.type')}</p>
            <CopyLine text={step.offer.secret} label={t('totp.secret')} />
            <TextInput label={t('logIn.code')} value={code} onChange={(event) => setCode(event.currentTarget.value)} inputMode="numeric" autoComplete="one-time-code" required maw={200} autoFocus />
            {failure && <FailureNote failure={failure} />}
            <div className="row">
              <Button type="submit" loading={confirm.isBusy}>
                {t('totp.confirm')}
              </Button>
              <Button variant="default" onClick={() => setStep({ at: 'password' })}>
                {t('confirm.no')}
              </Button>
            </div>
          </form>
        ) : (
          <form
            className="stack"
            onSubmit={(event) => {
              event.preventDefault();
              void offer.run();
            }}
          >
            <p className="soft">{t('totp.more')}</p>
            <PasswordInput label={t('totp.password')} value={password} onChange={(event) => setPassword(event.currentTarget.value)} autoComplete="current-password" required visibilityToggleButtonProps={{ 'aria-label': t('logIn.showPassword') }} />
            {failure && <FailureNote failure={failure} />}
            <div className="row">
              <Button type="submit" loading={offer.isBusy}>
                {t('totp.set')}
              </Button>
              <Button variant="default" onClick={() => void remove.run()} loading={remove.isBusy} disabled={password === ''}>
                {t('totp.remove')}
              </Button>
            </div>
          </form>
        )}
      </div>
    </Sheet>
  );
}

/** Drawn here: the secret goes to no other place. Dark on light in both schemes, as cameras want it. */
function Qr({ text, label }: { text: string; label: string }) {
  const code = qrcode(0, 'M');
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  const rows = Array.from({ length: size }, (_, row) => row);
  const path = rows.flatMap((row) => rows.filter((column) => code.isDark(row, column)).map((column) => `M${column + 4} ${row + 4}h1v1h-1z`)).join('');
  return (
    <svg viewBox={`0 0 ${size + 8} ${size + 8}`} width={208} height={208} role="img" aria-label={label} shapeRendering="crispEdges" style={{ borderRadius: 6 }}>
      <rect width="100%" height="100%" fill="#ffffff" />
      <path d={path} fill="#0d1b26" />
    </svg>
  );
}
