/**
 * The chat: one client, and the parts of the page that show it. Whatever changes in the client, all parts look once, in the next frame.
 */

import { ChatClient } from '../chat.js';
import { avatar } from './avatar.js';
import { Banner } from './banner.js';
import { Composer } from './composer.js';
import { copyInvite, DetailsDialog, NewDialog, showHelp, toast } from './dialogs.js';
import { byId, icon, setText } from './dom.js';
import { Drafts } from './drafts.js';
import { groupSubtitle, presence, signOf, titleOf } from './format.js';
import { listenToKeys } from './keys.js';
import { List } from './list.js';
import { Live } from './live.js';
import { nextPerson, partnerOf } from './people.js';
import { inviteLink, keepInvite, keptInvite, parseHash, replaceHash, storage, tokenSource } from './session.js';
import { Thread } from './thread.js';

/** @import { Conversation } from '../chat.js' */
/** @import { Identity, Person } from './session.js' */

/** What the server says of an id that is none, of one that it does not know, and of one that is not for this user. */
const NO_SUCH = ['not_found', 'invalid_payload', 'invalid_text'];
/** A tab that nobody sees draws no frames, and looks this often. */
const HIDDEN_RENDER_MS = 250;
/** Words like "5 min ago" become old. */
const CLOCK_MS = 30_000;

export class App {
  #users;
  #become;
  #client;
  #live;
  #drafts;
  #list;
  #thread;
  #composer;
  #banner;
  #newDialog;
  #details;
  #isDue = false;
  /** @type {Conversation | null} */
  #current = null;

  /**
   * @param {Identity} identity @param {readonly Person[]} users demo users
   * @param {{ logout: (problem?: string) => void, become: () => Promise<'same' | 'switched' | 'kept'> }} exits `become` whoever's the
   *   address says that this tab is
   */
  constructor(identity, users, { logout, become }) {
    this.#users = users;
    this.#become = become;
    this.#client = new ChatClient({
      url: new URL('../../ws', import.meta.url),
      getToken: tokenSource(identity, () => logout('The token was refused. Log in with a fresh one.')),
      storage,
    });
    this.#live = new Live(this.#client, (conversation, code) => this.#refused(conversation, code));
    this.#drafts = new Drafts(() => this.#client.user?.id ?? identity.person?.id ?? '');
    this.#list = new List(this.#client, this.#drafts);
    this.#thread = new Thread(this.#client, {
      retry: (id) => void this.#current?.retry(id).catch((error) => console.debug('not sent again', error)),
      discard: (id) => this.#current?.discard(id),
      edit: (id, content) => {
        this.#current?.discard(id);
        this.#composer.edit(content);
      },
    });
    this.#composer = new Composer(this.#client, this.#drafts, () => this.#thread.sent());
    this.#banner = new Banner(this.#client, () => logout());
    this.#newDialog = new NewDialog(this.#client, users, (conversation) => this.#go(conversation.id));
    this.#details = new DetailsDialog(this.#client, () => this.#go(''));
    this.#bindButtons(logout);
    this.#client.on('change', () => {
      this.#live.keep();
      this.#renderSoon();
    });
    this.#client.on('error', (error) => console.debug('the server refused something', error));
    setInterval(() => this.#renderSoon(), CLOCK_MS);
    document.addEventListener('visibilitychange', () => this.#render());
    window.addEventListener('hashchange', () => this.#addressed());
  }

  /**
   * Connects; the first time that this succeeds, loads the list and opens what the address says.
   * @param {{ isFirst: boolean, isDemo: boolean }} visit whether somebody has just chosen who they are
   */
  start(visit) {
    byId('chat').hidden = false;
    let isDone = false;
    this.#client.on('state', async ({ state }) => {
      if (state !== 'connected' || isDone) return;
      isDone = true;
      try {
        await this.#arrive(visit);
      } catch (error) {
        // The connection was lost meanwhile: the next one does it.
        isDone = false;
        console.debug('the list was not loaded', error);
      }
    });
    this.#client.connect().catch((error) => console.debug('not connected', error));
    this.#render();
  }

  /** @param {{ isFirst: boolean, isDemo: boolean }} visit */
  async #arrive({ isFirst, isDemo }) {
    await this.#client.conversations();
    this.#list.isLoaded = true;
    this.#renderSoon();
    let home = this.#client.list[0]?.id;
    if (isFirst && isDemo) home = await this.#furnish() ?? home;
    const { join, conversation } = parseHash(location.hash);
    if (join !== null || conversation !== null) this.#addressed();
    else if (home && (isFirst || matchMedia('(min-width: 641px)').matches)) this.#go(home);
    const invite = keptInvite(this.#client.user?.id ?? '');
    if (invite !== null && !this.#newDialog.asks(invite)) this.#newDialog.show(invite);
  }

  /** Gives a demo user somebody to talk to, and on an empty server a group of all. @returns {Promise<string | undefined>} */
  async #furnish() {
    const me = this.#client.user?.id ?? '';
    const partner = partnerOf(this.#users, me);
    const isListed = this.#users.some(({ id }) => id === me);
    if (isListed && this.#client.list.length === 0) await this.#client.createGroup('Lounge', this.#users.map(({ id }) => id).filter((id) => id !== me));
    return partner ? (await this.#client.createConversation([partner.id])).id : undefined;
  }

  /** @param {() => void} logout */
  #bindButtons(logout) {
    const button = (/** @type {string} */ id, /** @type {import('./dom.js').IconName} */ name, /** @type {() => void} */ onclick) => {
      byId(id).replaceChildren(icon(name));
      byId(id).onclick = onclick;
    };
    const showDetails = () => this.#current && this.#details.show(this.#current);
    button('help', 'help', showHelp);
    button('switch-user', 'out', () => logout());
    button('new', 'plus', () => this.#newDialog.show());
    button('details', 'people', showDetails);
    button('back', 'back', () => this.#go(''));
    byId('invite').replaceChildren(icon('copy'), 'Copy invite');
    byId('invite').onclick = () => void copyInvite(inviteLink(this.#current?.inviteCode ?? ''));
    listenToKeys({
      help: showHelp,
      search: () => this.#list.focusSearch(),
      start: () => this.#newDialog.show(),
      members: showDetails,
      move: (step) => this.#go(this.#list.neighbour(step)),
      leaveThread: () => {
        if (matchMedia('(max-width: 640px)').matches) this.#go('');
        this.#list.focusCurrent();
      },
    });
  }

  /** Does what the address says: somebody has written or clicked on one. */
  #addressed() {
    const { join, as, token } = parseHash(location.hash);
    if (as !== null || token !== null) return void this.#named();
    keepInvite(this.#current?.id);
    this.#follow();
    if (join !== null) this.#newDialog.show(join);
  }

  /** The address says who this tab is. */
  async #named() {
    const verdict = await this.#become();
    if (verdict === 'same') this.#addressed();
    else if (verdict === 'kept') replaceHash(this.#current?.id);
  }

  /** Has the address name a conversation, which opens it. @param {string | undefined} id */
  #go(id) {
    if (id === undefined || parseHash(location.hash).conversation === (id || null)) return;
    if (id) location.hash = id;
    else history.pushState(null, '', location.pathname);
    this.#follow();
  }

  /** Opens the conversation that the address names. */
  #follow() {
    const id = parseHash(location.hash).conversation;
    if (id === (this.#current?.id ?? null)) return;
    const conversation = id === null ? null : this.#client.conversation(id);
    this.#current = conversation;
    this.#list.current = id ?? '';
    const wasInThread = byId('thread').contains(document.activeElement);
    // First the room, then what is in it: places to scroll to need a height.
    byId('chat').dataset.view = id === null ? 'list' : 'thread';
    byId('thread').hidden = id === null;
    byId('nothing').hidden = id !== null;
    this.#sayNothing('No conversation is open', 'Choose one from the list, or start a new one.');
    // Of one that the server has not told of, nobody knows whether there is such a one.
    byId('composer').hidden = conversation?.kind === undefined;
    this.#composer.show(conversation);
    this.#thread.show(conversation);
    this.#render();
    this.#live.show(conversation);
    if (conversation) this.#focus();
    // What had it is hidden now: the keyboard goes on in the list.
    else if (wasInThread) this.#list.focusCurrent();
  }

  /** Where somebody who has opened a conversation goes on. */
  #focus() {
    // On a touch screen it would bring up the keyboard.
    if (matchMedia('(pointer: fine)').matches && !byId('composer').hidden) this.#composer.focus();
    else byId('log').focus({ preventScroll: true });
  }

  /** Lets somebody write as soon as the server has told of the conversation. @param {Conversation} conversation */
  #showComposer(conversation) {
    const composer = byId('composer');
    if (!composer.hidden || conversation.kind === undefined) return;
    composer.hidden = false;
    if (document.activeElement === byId('log')) this.#focus();
  }

  /** @param {Conversation} conversation @param {string} code */
  #refused(conversation, code) {
    if (conversation !== this.#current) return;
    if (!NO_SUCH.includes(code)) return toast('The conversation could not be opened. What is shown may be old.');
    toast('There is no such conversation, or you are not a member of it.');
    this.#go('');
    this.#sayNothing('There is no such conversation', 'It has ended, its address is wrong, or you are not a member.');
  }

  /** What stands where no conversation is. @param {string} title @param {string} text */
  #sayNothing(title, text) {
    setText(byId('nothing-title'), title);
    setText(byId('nothing-text'), text);
  }

  #renderSoon() {
    if (this.#isDue) return;
    this.#isDue = true;
    const render = () => {
      if (this.#isDue) this.#render();
    };
    if (document.hidden) setTimeout(render, HIDDEN_RENDER_MS);
    else requestAnimationFrame(render);
  }

  #render() {
    this.#isDue = false;
    this.#list.render();
    this.#banner.render();
    this.#details.render();
    this.#renderMe();
    if (this.#current) {
      this.#renderHead(this.#current);
      this.#showComposer(this.#current);
      this.#composer.render();
      this.#thread.render();
    }
    const unread = this.#client.list.reduce((sum, conversation) => sum + conversation.unreadCount, 0);
    const title = this.#current ? `${titleOf(this.#current, this.#client.user?.id)} · Parlor` : 'Parlor';
    document.title = unread > 0 ? `(${unread}) ${title}` : title;
  }

  #renderMe() {
    const { user } = this.#client;
    const me = byId('me');
    if (user && me.dataset.look !== `${user.id} ${user.name}`) {
      me.dataset.look = `${user.id} ${user.name}`;
      me.replaceChildren(avatar(user.id, user.name, { isSmall: true }), user.name);
    }
    const next = user ? nextPerson(this.#users, user.id, this.#current?.members ?? []) : null;
    const link = /** @type {HTMLAnchorElement} */ (byId('open-as'));
    link.hidden = next === null;
    if (!next) return;
    const fields = new URLSearchParams({ as: next.id, ...this.#current && { c: this.#current.id } });
    link.href = `#${fields}`;
    if (link.dataset.look === next.id) return;
    link.dataset.look = next.id;
    link.replaceChildren(icon('tab'), `Open as ${next.name}`);
  }

  /** @param {Conversation} conversation */
  #renderHead(conversation) {
    const title = titleOf(conversation, this.#client.user?.id);
    const { kind, partner, members, memberCount } = conversation;
    const isDirect = kind === 'direct';
    const isKnown = conversation.state === 'open';
    const sign = isDirect ? signOf(conversation, partner) : 'offline';
    setText(byId('thread-title'), title);
    setText(byId('thread-subtitle'), isDirect ? presence(partner, new Date(), isKnown) : kind ? groupSubtitle(members, memberCount, isKnown) : '');
    byId('invite').hidden = conversation.inviteCode === undefined;
    const holder = byId('thread-avatar');
    const look = JSON.stringify([title, kind, sign, partner?.userId]);
    if (holder.dataset.look === look) return;
    holder.dataset.look = look;
    const id = (isDirect && partner?.userId) || conversation.id;
    holder.replaceChildren(avatar(id, title, { sign, isGroup: !isDirect }));
  }
}
