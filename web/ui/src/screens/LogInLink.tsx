// A one-time link: sets a password and logs in. The link of the very first start makes the first account.
import { Button, PasswordInput, Progress, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router';
import { api, ask } from '../api/client';
import { SHORTEST, strength } from '../logic/password';
import { Door } from '../parts/Door';
import { useEnter } from '../parts/enter';
import { FailureNote } from '../parts/states';

/** The secret behind the `#`. It is taken out of the address line at once, so that nobody reads it there and no history keeps it. */
function useSecret(): string {
  // Not taken out here: what is drawn may be drawn anew from the beginning, and would find nothing then.
  const [secret] = useState(() => window.location.hash.slice(1));
  useEffect(() => window.history.replaceState(window.history.state, '', window.location.pathname), []);
  return secret;
}

export default function LogInLink({ isFirst }: { isFirst?: boolean }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const secret = useSecret();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const { code, setCode, needsCode, isBusy, failure, run } = useEnter(
    (code) => ask(api.POST('/api/v1/log-in-links/redeem', { body: { secret, password, ...(isFirst ? { name: name.trim() } : {}), ...code } })),
    () => go('/', { replace: true }),
  );
  const differs = again !== '' && again !== password;
  const force = strength(password);
  if (!secret.startsWith('icl_')) {
    return (
      <Door title={t('link.noneTitle')}>
        <div className="stack">
          <p>{t('link.none')}</p>
          <Button component={Link} to="/" variant="default">
            {t('link.toLogIn')}
          </Button>
        </div>
      </Door>
    );
  }
  return (
    <Door title={isFirst ? t('link.firstTitle') : t('link.title')}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (password === again) void run();
        }}
      >
        <p className="soft">{isFirst ? t('link.firstLead') : t('link.lead')}</p>
        {isFirst && <TextInput label={t('logIn.name')} description={t('link.nameMore')} value={name} onChange={(event) => setName(event.currentTarget.value)} autoComplete="username" autoFocus required pattern="[a-z0-9][a-z0-9._\-]*" maxLength={64} />}
        <div className="stack tight">
          <PasswordInput label={t('link.password')} description={t('link.passwordMore', { count: SHORTEST })} value={password} onChange={(event) => setPassword(event.currentTarget.value)} autoComplete="new-password" required minLength={SHORTEST} visibilityToggleButtonProps={{ 'aria-label': t('logIn.showPassword') }} />
          <Progress value={(100 * force) / 4} size="sm" color={force < 2 ? 'red.7' : force < 3 ? 'yellow.6' : 'ice.6'} aria-label={t(`strength.${force}`)} />
          <span className="faint" aria-live="polite">{password ? t(`strength.${force}`) : ' '}</span>
        </div>
        <PasswordInput label={t('link.again')} value={again} onChange={(event) => setAgain(event.currentTarget.value)} autoComplete="new-password" required error={differs && t('link.differs')} visibilityToggleButtonProps={{ 'aria-label': t('logIn.showPassword') }} />
        {needsCode && <TextInput label={t('logIn.code')} description={t('logIn.codeMore')} value={code} onChange={(event) => setCode(event.currentTarget.value)} autoComplete="one-time-code" autoFocus required />}
        {failure && <FailureNote failure={failure} />}
        <Button type="submit" loading={isBusy} fullWidth>
          {isFirst ? t('link.begin') : t('link.do')}
        </Button>
      </form>
    </Door>
  );
}
