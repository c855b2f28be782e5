/** The shapes that pass between the client, its server and the app. Types only. */

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
