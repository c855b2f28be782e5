// The time now, for words such as "5 min ago": whoever reads it is told once a minute, as long as anybody does.
import { createSubscriber } from 'svelte/reactivity';

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 60_000);
  return () => clearInterval(timer);
});

/** Milliseconds since 1970. */
export function now() {
  subscribe();
  return Date.now();
}
