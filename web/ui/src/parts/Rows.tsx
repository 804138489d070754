// A list as a table; on a narrow screen each row becomes a card, with the columns' names beside the values.
import type { ReactNode } from 'react';
import classes from './Rows.module.css';

export interface ColumnOf<T> {
  name: string;
  cell: (item: T) => ReactNode;
  /** Numbers and sizes stand at the right. */
  isNumber?: boolean;
  /** Stays on one line. */
  isTight?: boolean;
}

interface RowsProps<T> {
  items: T[];
  columns: ColumnOf<T>[];
  rowKey: (item: T) => string;
  label: string;
}

export function Rows<T>({ items, columns, rowKey, label }: RowsProps<T>) {
  return (
    <div className={classes.frame}>
      <table className={classes.rows} aria-label={label}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.name} scope="col" data-number={column.isNumber || undefined}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {items.map((item) => (
            <tr key={rowKey(item)}>
              {columns.map((column) => (
                <td key={column.name} data-name={column.name} data-number={column.isNumber || undefined} data-tight={column.isTight || undefined}>
                  {column.cell(item)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
