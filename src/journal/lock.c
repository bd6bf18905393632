/* SPDX-License-Identifier: MIT */
/* One journal, one writer: the directory and its lock. */
#include "journal/file.h"
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_NAME "lock"
#define HOLDER_SIZE 32
#define LOCK_TRIES 500
#define LOCK_PAUSE_MS 10

/* The process id in the lock's file, as text; "" when there is none. */
static void read_holder(int lock_fd, char text[HOLDER_SIZE])
{
	size_t got = 0;
	file_read(lock_fd, text, HOLDER_SIZE - 1, 0, &got);
	text[got] = '\0';
	text[strcspn(text, " \n")] = '\0';
}

/* Who took the lock has ended. Those it was shared with end with it, but not in the same moment. */
static bool holder_has_ended(int lock_fd)
{
	char text[HOLDER_SIZE];
	read_holder(lock_fd, text);
	long pid = strtol(text, NULL, 10);
	return pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static int take_lock(int lock_fd)
{
	int r = file_lock(lock_fd);
	for (unsigned i = 0; i < LOCK_TRIES && r == -EWOULDBLOCK && holder_has_ended(lock_fd); i++) {
		uv_sleep(LOCK_PAUSE_MS);
		r = file_lock(lock_fd);
	}
	return r;
}

int journal_lock_directory(int directory_fd, const char *directory, bool create, int *lock_fd, struct error *error)
{
	char text[HOLDER_SIZE];
	int r = file_open(directory_fd, LOCK_NAME, O_RDWR | (create ? O_CREAT : 0), lock_fd);
	if (r == -ENOENT && !create)
		return 0; /* nobody ever had it */
	if (r != 0)
		return error_set(error, err_from_errno(-r), "cannot open the journal's lock %s/" LOCK_NAME ": %s", directory,
				 strerror(-r));
	r = take_lock(*lock_fd);
	if (r == -EWOULDBLOCK) {
		read_holder(*lock_fd, text);
		return error_set(error, ERR_LOCKED,
				 "the journal in %s is in use by process %s: stop it, or give this one another DATA_DIR",
				 directory, text[0] != '\0' ? text : "(unknown)");
	}
	if (r != 0)
		return error_set(error, err_from_errno(-r), "cannot lock the journal in %s: %s", directory, strerror(-r));
	/* For people, and for who finds it locked; a full disk does not matter. The blanks cover a longer number that was there before. */
	int len = snprintf(text, sizeof(text), "%-20ld\n", (long)getpid());
	file_write(*lock_fd, text, (size_t)len, 0);
	return 0;
}

int journal_open_directory(const char *directory, bool create, int *directory_fd, struct error *error)
{
	int r = create ? file_make_directories(directory, 0700) : 0;
	if (r == 0)
		r = file_open(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY, directory_fd);
	if (r != 0)
		return error_set(error, err_from_errno(-r), "cannot open the journal's directory %s: %s", directory,
				 strerror(-r));
	return 0;
}

int journal_lock(const char *directory, int *fd, struct error *error)
{
	int directory_fd = -1;
	*fd = -1;
	int r = journal_open_directory(directory, true, &directory_fd, error);
	if (r == 0)
		r = journal_lock_directory(directory_fd, directory, true, fd, error);
	if (r != 0)
		file_close(fd);
	file_close(&directory_fd);
	return r;
}
