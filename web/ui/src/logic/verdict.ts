// Whether every machine can be restored, from what is known: one sentence for the whole, one state for each machine.
import { promised, type Promised, type Promising } from './schedule';

export interface AgentOf {
  id: string;
  revoked_at?: string | null;
  keeper?: boolean;
}

export interface PlanOf extends Promising {
  id: string;
  agent_id: string;
  name: string;
}

export type MachineState = 'kept' | 'late' | 'waiting' | 'paused' | 'unplanned' | 'keeper' | 'none';

export interface MachineVerdict<A extends AgentOf, P extends PlanOf> {
  agent: A;
  state: MachineState;
  plans: { plan: P; promised: Promised }[];
  lastGoodAt: string | undefined;
}

/** The worst of its plans counts: a machine with one late disk is not safe. */
const WORST: MachineState[] = ['late', 'waiting', 'paused', 'none', 'kept'];

export function machineVerdict<A extends AgentOf, P extends PlanOf>(agent: A, plans: P[], now: Date): MachineVerdict<A, P> {
  const own = plans.filter((plan) => plan.agent_id === agent.id).map((plan) => ({ plan, promised: promised(plan, now) }));
  const states = own.map((one): MachineState => one.promised.kind);
  // A plan that only runs when it is asked promises nothing, but its point counts while another plan promises something.
  const state = own.length === 0 ? (agent.keeper ? 'keeper' : 'unplanned') : (WORST.find((worst) => states.includes(worst)) ?? 'none');
  const lastGoodAt = own.map((one) => one.plan.last_good_at).filter((at): at is string => Boolean(at)).sort().pop();
  return { agent, state, plans: own, lastGoodAt };
}

/** A keeper looks after a repository; only with a plan it is a machine that somebody wants back. */
export function isBackedUp(machine: { agent: AgentOf; plans: unknown[] }): boolean {
  return !machine.agent.keeper || machine.plans.length > 0;
}

export interface Verdict {
  tone: 'good' | 'late' | 'bad' | 'none';
  late: number;
  unplanned: number;
  waiting: number;
  all: number;
}

export function verdict(machines: { state: MachineState }[], unsafeKits: number): Verdict {
  const count = (state: MachineState) => machines.filter((machine) => machine.state === state).length;
  const [late, unplanned, waiting] = [count('late'), count('unplanned'), count('waiting')];
  const tone = machines.length === 0 ? 'none' : late > 0 || unsafeKits > 0 ? 'bad' : unplanned + waiting > 0 ? 'late' : 'good';
  return { tone, late, unplanned, waiting, all: machines.length };
}
