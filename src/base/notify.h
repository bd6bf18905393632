/* SPDX-License-Identifier: MIT */
/* Tells the service manager how we are (sd_notify protocol: a datagram to the socket named by NOTIFY_SOCKET). Source: sd_notify(3). */
#ifndef REELD_BASE_NOTIFY_H
#define REELD_BASE_NOTIFY_H

/* Sends newline-separated assignments ("READY=1\nSTATUS=…"). Does nothing without NOTIFY_SOCKET; never blocks; a failure is not an error. */
void notify_send(const char *state);
/* "RELOADING=1" with the monotonic time stamp that Type=notify-reload wants. */
void notify_reloading(void);

#endif
