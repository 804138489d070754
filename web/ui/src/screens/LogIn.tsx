// Name, password, and a code where the account wants one.
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ask } from '../api/client';
import { Door } from '../parts/Door';
import { useEnter } from '../parts/enter';
import { FailureNote } from '../parts/states';

export default function LogIn() {
  const { t } = useTranslation();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const { code, setCode, needsCode, isBusy, failure, run } = useEnter((code) =>
    ask(api.POST('/api/v1/session', { body: { name: name.trim(), password, ...code } })),
  );
  return (
    <Door title={t('logIn.title')}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <TextInput label={t('logIn.name')} value={name} onChange={(event) => setName(event.currentTarget.value)} autoComplete="username" autoFocus required />
        <PasswordInput label={t('logIn.password')} value={password} onChange={(event) => setPassword(event.currentTarget.value)} autoComplete="current-password" required visibilityToggleButtonProps={{ 'aria-label': t('logIn.showPassword') }} />
        {needsCode && (
          <TextInput label={t('logIn.code')} description={t('logIn.codeMore')} value={code} onChange={(event) => setCode(event.currentTarget.value)} autoComplete="one-time-code" inputMode="numeric" autoFocus required />
        )}
        {failure && <FailureNote failure={failure} />}
        <Button type="submit" loading={isBusy} fullWidth>
          {t('logIn.do')}
        </Button>
        <p className="faint">{t('logIn.lost')}</p>
      </form>
    </Door>
  );
}
