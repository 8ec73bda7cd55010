import './ui/tokens.css';
import './ui/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { keys } from './lib/keys.svelte';
import { router } from './lib/router.svelte';
import { session } from './lib/session.svelte';
import { theme } from './lib/theme.svelte';

theme.start();
router.start();
// When it was pressed counts, not when a busy page gets to it.
document.addEventListener('keydown', (event) => {
  // An open dialog has the keyboard to itself; the browser closes it by Escape.
  if (!document.querySelector('dialog[open]')) keys.press(event, event.timeStamp);
});
void session.start();

const target = document.getElementById('app');
if (target) mount(App, { target });
