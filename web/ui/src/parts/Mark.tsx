// Icecore's mark: a core of ice, its layers the seasons.
export function Mark({ size }: { size: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path fill="#0d4260" d="M7 6c0-2 4-3.500 9-3.500S25 4 25 6v20c0 2-4 3.500-9 3.500S7 28 7 26z" />
      <path fill="#1f6f97" d="M7 21c0 2 4 3.500 9 3.500s9-1.500 9-3.500v-3c0 2-4 3.500-9 3.500S7 20 7 18z" />
      <path fill="#4a9cc1" d="M7 16c0 2 4 3.500 9 3.500s9-1.500 9-3.500v-2.500c0 2-4 3.500-9 3.500s-9-1.500-9-3.500z" />
      <path fill="#92c6de" d="M7 11.500c0 2 4 3.500 9 3.500s9-1.500 9-3.500V9c0 2-4 3.500-9 3.500S7 11 7 9z" />
      <ellipse cx="16" cy="6" rx="9" ry="3.500" fill="#dcedf5" />
    </svg>
  );
}
