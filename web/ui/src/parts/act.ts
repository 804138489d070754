// Doing something at the server: busy while it lasts, its failure kept for the screen, its success told.
import { useState } from 'react';
import { asFailure, type Failure } from '../api/failure';
import { useTell } from './toasts';

export interface Act<A extends unknown[]> {
  isBusy: boolean;
  failure: Failure | undefined;
  run: (...args: A) => Promise<boolean>;
  forget: () => void;
}

export function useAct<A extends unknown[]>(deed: (...args: A) => Promise<unknown>, done?: string): Act<A> {
  const tell = useTell();
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  async function run(...args: A): Promise<boolean> {
    setBusy(true);
    setFailure(undefined);
    try {
      await deed(...args);
      if (done) tell(done);
      return true;
    } catch (error) {
      setFailure(asFailure(error));
      return false;
    } finally {
      setBusy(false);
    }
  }
  return { isBusy, failure, run, forget: () => setFailure(undefined) };
}
