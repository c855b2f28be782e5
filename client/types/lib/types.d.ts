/** The shapes that pass between the client, its server and the app. Types only. */
import type { ChatError } from './error.js';
import type { Conversation } from './conversation.js';
export type State = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'closed' | 'failed';
export type Reason = {
    code: string;
    message: string;
    closeCode?: number;
} | null;
export type User = {
    id: string;
    name: string;
};
export type Presence = {
    online: boolean;
    lastSeenAt?: string;
};
export type Limits = {
    maxMessageBytes: number;
    maxContentChars: number;
    pingIntervalMs: number;
    pongTimeoutMs: number;
    typingLeaseMs: number;
    maxJoined: number;
    recoveryLimit: number;
};
export type Message = {
    id: string;
    conversationId: string;
    seq: number;
    senderId: string;
    senderName: string;
    content: string;
    clientMessageId?: string;
    replyTo?: string;
    createdAt: string;
};
export type LogMessage = {
    kind: 'message';
    status: 'sent' | 'pending' | 'failed';
    /**
     * Why it failed.
     */
    error?: ChatError;
    id?: string;
    seq?: number;
    conversationId: string;
    senderId: string;
    senderName: string;
    content: string;
    clientMessageId?: string;
    replyTo?: string;
    createdAt: string;
};
export type Membership = {
    kind: 'joined' | 'left';
    status: 'sent';
    conversationId: string;
    seq: number;
    userId: string;
    name: string;
};
export type Entry = LogMessage | Membership;
export type Member = {
    userId: string;
    name: string;
    role: 'owner' | 'member';
    online: boolean;
    lastSeenAt?: string;
    readSeq: number;
};
export type Timers = {
    setTimeout: (run: () => void, ms: number) => unknown;
    clearTimeout: (timer: unknown) => void;
    /**
     * Milliseconds since 1970.
     */
    now: () => number;
};
export type Ticker = {
    postMessage: (ms: number) => void;
    terminate: () => void;
    onmessage: ((event: MessageEvent) => unknown) | null;
};
export type Socket = {
    send: (text: string) => void;
    close: (code?: number) => void;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: {
        data: unknown;
    }) => void) | null;
    onclose: ((event: {
        code: number;
        reason: string;
    }) => void) | null;
    onerror: ((event: never) => void) | null;
};
export type Events = {
    addEventListener: (type: string, run: () => void, options: {
        signal: AbortSignal;
    }) => void;
};
export type Environment = {
    window?: Events & {
        location?: {
            href: string;
        };
    };
    document?: Events & {
        hidden: boolean;
    };
    /**
     * Starts the worker that keeps time while the page is hidden.
     */
    ticker?: () => Ticker;
};
export type Storage = {
    getItem: (key: string) => string | null;
    setItem: (key: string, value: string) => void;
    removeItem: (key: string) => void;
};
export type TokenAsk = {
    /**
     * Why a token is needed.
     */
    reason: 'connect' | 'reconnect' | 'expiring' | 'rejected';
    /**
     * Aborted when it is no longer, or has taken too long.
     */
    signal: AbortSignal;
};
export type Options = {
    /**
     * `ws:`, `wss:`, `http:`, `https:` or, in a browser, relative to the page.
     */
    url: string | URL;
    /**
     * Fetches a token. Never called again before it has answered.
     */
    getToken: (ask: TokenAsk) => string | Promise<string>;
    /**
     * Keeps unsent messages over a reload. Default: nothing does.
     */
    storage?: Storage;
    /**
     * Default `parlor:outbox`; the user's id is added.
     */
    storageKey?: string;
    /**
     * Unsent messages at most, by default 100.
     */
    maxQueue?: number;
    /**
     * Default: the platform's.
     */
    WebSocket?: new (url: string) => Socket;
    timers?: Timers;
    /**
     * From 0 up to, not including, 1.
     */
    random?: () => number;
    /**
     * A new `clientMessageId`: 1 to 64 printable ASCII characters.
     */
    randomId?: () => string;
    /**
     * Default: the page's.
     */
    environment?: Environment;
};
export type ClientEvents = {
    state: {
        state: State;
        reason: Reason;
        retryAt: number | null;
    };
    list: void;
    conversation: {
        conversation: Conversation;
    };
    message: {
        conversation: Conversation;
        message: LogMessage;
    };
    presence: Presence & {
        userId: string;
    };
    error: ChatError;
    change: void;
};
export type Summary = {
    id: string;
    kind: 'direct' | 'group';
    title: string;
    memberCount: number;
    head: number;
    lastMessage?: Message;
    readSeq: number;
    unreadCount: number;
    createdAt: string;
    inviteCode?: string;
};
export type WireMember = Omit<Member, 'online'> & {
    status: 'online' | 'offline';
};
export type Payload = Record<string, unknown>;
export type WireMembership = {
    conversationId: string;
    seq: number;
    userId: string;
    name: string;
};
export type LogEvent = {
    type: 'message_created';
    payload: Message;
} | {
    type: 'member_joined' | 'member_left';
    payload: WireMembership;
};
export type Position = {
    epoch: string;
    seq: number;
};
export type JoinReply = {
    conversation: Summary;
    epoch: string;
    head: number;
    recovered: boolean;
    events: LogEvent[];
    members: WireMember[];
    typing: string[];
};
export type AuthReply = {
    user: User;
    expiresAt: string;
    epoch: string;
    limits: Limits;
};
export type Replies = {
    auth: AuthReply;
    ping: Payload;
    create_conversation: {
        conversation: Summary;
    };
    create_group: {
        conversation: Summary;
    };
    join_group: {
        conversation: Summary;
    };
    leave_group: Payload;
    join_conversation: JoinReply;
    leave_conversation: Payload;
    send_message: {
        message: Message;
    };
    load_conversations: {
        conversations: Summary[];
        nextCursor?: string;
    };
    load_messages: {
        messages: Message[];
        hasMore: boolean;
    };
    mark_read: {
        seq: number;
        unreadCount: number;
    };
    typing_start: Payload;
    typing_stop: Payload;
};
/** @import { ChatError } from './error.js' */
/** @import { Conversation } from './conversation.js' */
/** @typedef {'idle' | 'connecting' | 'connected' | 'reconnecting' | 'closed' | 'failed'} State */
/** @typedef {{ code: string, message: string, closeCode?: number } | null} Reason */
/** @typedef {{ id: string, name: string }} User */
/** @typedef {{ online: boolean, lastSeenAt?: string }} Presence */
/**
 * @typedef {object} Limits What the server told of its own.
 * @property {number} maxMessageBytes
 * @property {number} maxContentChars
 * @property {number} pingIntervalMs
 * @property {number} pongTimeoutMs
 * @property {number} typingLeaseMs
 * @property {number} maxJoined
 * @property {number} recoveryLimit
 */
/**
 * @typedef {object} Message
 * @property {string} id
 * @property {string} conversationId
 * @property {number} seq
 * @property {string} senderId
 * @property {string} senderName
 * @property {string} content
 * @property {string} [clientMessageId]
 * @property {string} [replyTo]
 * @property {string} createdAt
 */
/**
 * @typedef {object} LogMessage A message as it is shown. While `pending` or `failed` it has no `id` and `seq` yet, and its
 *   `clientMessageId` and `createdAt` are the client's own.
 * @property {'message'} kind
 * @property {'sent' | 'pending' | 'failed'} status
 * @property {ChatError} [error] Why it failed.
 * @property {string} [id]
 * @property {number} [seq]
 * @property {string} conversationId
 * @property {string} senderId
 * @property {string} senderName
 * @property {string} content
 * @property {string} [clientMessageId]
 * @property {string} [replyTo]
 * @property {string} createdAt
 */
/**
 * @typedef {object} Membership Somebody came or went.
 * @property {'joined' | 'left'} kind
 * @property {'sent'} status
 * @property {string} conversationId
 * @property {number} seq
 * @property {string} userId
 * @property {string} name
 */
/** @typedef {LogMessage | Membership} Entry What stands in `messages`. */
/**
 * @typedef {object} Member
 * @property {string} userId
 * @property {string} name
 * @property {'owner' | 'member'} role
 * @property {boolean} online
 * @property {string} [lastSeenAt]
 * @property {number} readSeq
 */
/**
 * @typedef {object} Timers
 * @property {(run: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: unknown) => void} clearTimeout
 * @property {() => number} now Milliseconds since 1970.
 */
/**
 * @typedef {object} Ticker What is needed of a `Worker` that runs ticker.js.
 * @property {(ms: number) => void} postMessage
 * @property {() => void} terminate
 * @property {((event: MessageEvent) => unknown) | null} onmessage
 */
/**
 * @typedef {object} Socket What is needed of a `WebSocket`.
 * @property {(text: string) => void} send
 * @property {(code?: number) => void} close
 * @property {((event: never) => void) | null} onopen
 * @property {((event: { data: unknown }) => void) | null} onmessage
 * @property {((event: { code: number, reason: string }) => void) | null} onclose
 * @property {((event: never) => void) | null} onerror
 */
/**
 * @typedef {object} Events What is needed of `window` and `document`.
 * @property {(type: string, run: () => void, options: { signal: AbortSignal }) => void} addEventListener
 */
/**
 * @typedef {object} Environment
 * @property {Events & { location?: { href: string } }} [window]
 * @property {Events & { hidden: boolean }} [document]
 * @property {() => Ticker} [ticker] Starts the worker that keeps time while the page is hidden.
 */
/**
 * @typedef {object} Storage What is needed of `localStorage` or `sessionStorage`.
 * @property {(key: string) => string | null} getItem
 * @property {(key: string, value: string) => void} setItem
 * @property {(key: string) => void} removeItem
 */
/**
 * @typedef {object} TokenAsk
 * @property {'connect' | 'reconnect' | 'expiring' | 'rejected'} reason Why a token is needed.
 * @property {AbortSignal} signal Aborted when it is no longer, or has taken too long.
 */
/**
 * @typedef {object} Options
 * @property {string | URL} url `ws:`, `wss:`, `http:`, `https:` or, in a browser, relative to the page.
 * @property {(ask: TokenAsk) => string | Promise<string>} getToken Fetches a token. Never called again before it has answered.
 * @property {Storage} [storage] Keeps unsent messages over a reload. Default: nothing does.
 * @property {string} [storageKey] Default `parlor:outbox`; the user's id is added.
 * @property {number} [maxQueue] Unsent messages at most, by default 100.
 * @property {new (url: string) => Socket} [WebSocket] Default: the platform's.
 * @property {Timers} [timers]
 * @property {() => number} [random] From 0 up to, not including, 1.
 * @property {() => string} [randomId] A new `clientMessageId`: 1 to 64 printable ASCII characters.
 * @property {Environment} [environment] Default: the page's.
 */
/**
 * @typedef {object} ClientEvents What `on` takes, and what listeners get.
 * @property {{ state: State, reason: Reason, retryAt: number | null }} state
 * @property {void} list
 * @property {{ conversation: Conversation }} conversation
 * @property {{ conversation: Conversation, message: LogMessage }} message
 * @property {Presence & { userId: string }} presence
 * @property {ChatError} error
 * @property {void} change
 */
/**
 * @typedef {object} Summary A conversation as the server describes it.
 * @property {string} id
 * @property {'direct' | 'group'} kind
 * @property {string} title
 * @property {number} memberCount
 * @property {number} head
 * @property {Message} [lastMessage]
 * @property {number} readSeq
 * @property {number} unreadCount
 * @property {string} createdAt
 * @property {string} [inviteCode]
 */
/** @typedef {Omit<Member, 'online'> & { status: 'online' | 'offline' }} WireMember */
/** @typedef {Record<string, unknown>} Payload */
/** @typedef {{ conversationId: string, seq: number, userId: string, name: string }} WireMembership */
/** @typedef {{ type: 'message_created', payload: Message }
 *   | { type: 'member_joined' | 'member_left', payload: WireMembership }} LogEvent */
/** @typedef {{ epoch: string, seq: number }} Position */
/**
 * @typedef {object} JoinReply
 * @property {Summary} conversation
 * @property {string} epoch
 * @property {number} head
 * @property {boolean} recovered
 * @property {LogEvent[]} events
 * @property {WireMember[]} members
 * @property {string[]} typing
 */
/**
 * @typedef {object} AuthReply
 * @property {User} user
 * @property {string} expiresAt
 * @property {string} epoch
 * @property {Limits} limits
 */
/**
 * @typedef {object} Replies Each action's answer.
 * @property {AuthReply} auth
 * @property {Payload} ping
 * @property {{ conversation: Summary }} create_conversation
 * @property {{ conversation: Summary }} create_group
 * @property {{ conversation: Summary }} join_group
 * @property {Payload} leave_group
 * @property {JoinReply} join_conversation
 * @property {Payload} leave_conversation
 * @property {{ message: Message }} send_message
 * @property {{ conversations: Summary[], nextCursor?: string }} load_conversations
 * @property {{ messages: Message[], hasMore: boolean }} load_messages
 * @property {{ seq: number, unreadCount: number }} mark_read
 * @property {Payload} typing_start
 * @property {Payload} typing_stop
 */
export {};
