// Short messages about what was just done, read out by screen readers, gone after a while.
import { CloseButton } from '@mantine/core';
import { createContext, useCallback, useContext, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import classes from './toasts.module.css';

type Tell = (text: string) => void;
const TellContext = createContext<Tell>(() => undefined);
const LASTS_MS = 6000;

export function useTell(): Tell {
  return useContext(TellContext);
}

export function Toasts({ children }: { children: ReactNode }) {
  const { t } = useTranslation();
  const [shown, setShown] = useState<{ id: number; text: string }[]>([]);
  const remove = useCallback((id: number) => setShown((now) => now.filter((one) => one.id !== id)), []);
  const tell = useCallback(
    (text: string) => {
      const id = Date.now() + Math.random();
      setShown((now) => [...now.slice(-2), { id, text }]);
      setTimeout(() => remove(id), LASTS_MS);
    },
    [remove],
  );
  return (
    <TellContext value={tell}>
      {children}
      <div className={classes.toasts} role="status" aria-live="polite">
        {shown.map((one) => (
          <div key={one.id} className={classes.toast}>
            <span className="grow">{one.text}</span>
            <CloseButton size="sm" aria-label={t('state.close')} onClick={() => remove(one.id)} />
          </div>
        ))}
      </div>
    </TellContext>
  );
}
