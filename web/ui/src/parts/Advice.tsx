// What to do next, in the server's or the agent's words; its commands can be copied.
import { withCommands } from '../logic/progress';
import { CopyLine } from './CopyLine';
import { sentence } from './states';

export function Advice({ text }: { text: string }) {
  const parts = withCommands(sentence(text));
  const commands = parts.filter((part) => part.isCommand && part.text.includes(' '));
  return (
    <div className="stack tight">
      <p className="small">
        {parts.map((part, at) => (part.isCommand ? <code key={at} className="mono">{part.text}</code> : <span key={at}>{part.text}</span>))}
      </p>
      {commands.map((part) => (
        <CopyLine key={part.text} text={part.text} />
      ))}
    </div>
  );
}
