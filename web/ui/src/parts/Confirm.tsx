// Asks before something is done that cannot be taken back. What destroys asks for a word to be typed.
import { Button, Modal, TextInput } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useAct } from './act';
import { FailureNote } from './states';

interface ConfirmProps {
  title: string;
  children: ReactNode;
  action: string;
  /** What has to be typed. */
  word?: string;
  close: () => void;
  act: () => Promise<unknown>;
}

export function Confirm({ title, children, action, word, close, act }: ConfirmProps) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState('');
  const deed = useAct(act);
  const fits = word === undefined || typed.trim() === word;
  const go = async () => {
    if (await deed.run()) close();
  };
  return (
    <Modal opened onClose={close} title={title} closeButtonProps={{ 'aria-label': t('state.close') }}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (fits) void go();
        }}
      >
        <div>{children}</div>
        {word !== undefined && (
          <TextInput label={t('confirm.type', { word })} value={typed} onChange={(event) => setTyped(event.currentTarget.value)} autoComplete="off" data-autofocus />
        )}
        {deed.failure && <FailureNote failure={deed.failure} />}
        <div className="row">
          <Button type="submit" color="red.8" disabled={!fits} loading={deed.isBusy}>
            {action}
          </Button>
          <Button variant="default" onClick={close}>
            {t('confirm.no')}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
