/* SPDX-License-Identifier: MIT */
/*
 * Promise P1 against a model of the disk. While a journal lives through appends, forwarding, reuse of segments and failing syncs, every
 * call that changes a file is a point where the machine may stop. At each, the model knows what was acknowledged, what is sure to be on
 * disk (content at the last sync of a file, names at the last sync of the directory) and what may be. Afterwards the journal is opened
 * on every one of these disks:
 *
 *   killed    everything written is there (the process died, the machine did not)
 *   cut       only what was synced is there
 *   mixed     of what was not synced, any sector is old or new, any name is there or not
 *
 * and every event that was acknowledged and not yet forwarded must come out of it, whole and once.
 */
#include "fixture.h"

#define EVENTS 400
#define NODES_MAX 64
#define POINTS_MAX 3000
#define NAME_MAX_LEN 48

enum disk { DISK_KILLED, DISK_CUT, DISK_MIXED, DISK_COUNT };

/* A file. Contents are shared between points and never freed before the end. */
struct node {
	char name[NAME_MAX_LEN];         /* "": unlinked */
	char durable_name[NAME_MAX_LEN]; /* "": the directory was not synced since it was made */
	char *durable;
	size_t durable_size;
	char *syncing; /* content when a sync began that has not returned yet; NULL: none */
	size_t syncing_size;
	bool by_writer;
	bool renaming; /* the call has not returned yet */
};

struct saved_node {
	char name[NAME_MAX_LEN];
	char durable_name[NAME_MAX_LEN];
	char *durable;
	size_t durable_size;
	char *current;
	size_t current_size;
};

struct point {
	struct saved_node nodes[NODES_MAX];
	unsigned node_count;
	bool acked[EVENTS];
	uint64_t forwarded;
};

static struct fixture f;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct node nodes[NODES_MAX];
static unsigned node_count;
static bool directory_syncing;
static struct point *points;
static unsigned point_count;
static struct event events[EVENTS];
static uint64_t sequence_of[EVENTS];
static bool acked[EVENTS];
static uint64_t forwarded;
static uint64_t random_state = 88172645463325252u;
static unsigned fail_one_of; /* of so many syncs of the writer, by chance; 0: none */

static unsigned random_up_to(unsigned bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 33) % bound;
}

static char *current_content(const char *name, size_t *size)
{
	char path[128];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", f.directory, name);
	int fd = open(path, O_RDONLY);
	if (fd < 0) {
		*size = 0;
		return NULL;
	}
	fstat(fd, &st);
	*size = (size_t)st.st_size;
	char *content = malloc(*size + 1);
	if (pread(fd, content, *size, 0) != (ssize_t)*size)
		abort();
	close(fd);
	return content;
}

static struct node *node_by_name(const char *name)
{
	for (unsigned i = 0; i < node_count; i++)
		if (strcmp(nodes[i].name, name) == 0)
			return &nodes[i];
	if (node_count == NODES_MAX)
		abort();
	struct node *node = &nodes[node_count++];
	memset(node, 0, sizeof(*node));
	snprintf(node->name, sizeof(node->name), "%s", name);
	return node;
}

static struct node *node_by_fd(int fd)
{
	char link[64];
	char path[256];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		abort();
	path[len] = '\0';
	return node_by_name(strrchr(path, '/') + 1);
}

/* The calls that this side of the journal began have returned. */
static void returned(bool writer)
{
	for (unsigned i = 0; i < node_count; i++) {
		if (nodes[i].by_writer != writer)
			continue;
		if (nodes[i].syncing != NULL) {
			nodes[i].durable = nodes[i].syncing;
			nodes[i].durable_size = nodes[i].syncing_size;
			nodes[i].syncing = NULL;
		}
		if (nodes[i].renaming) {
			nodes[i].name[strlen(nodes[i].name) - strlen(".tmp")] = '\0';
			nodes[i].renaming = false;
		}
	}
	if (directory_syncing && !writer) {
		directory_syncing = false;
		for (unsigned i = 0; i < node_count; i++)
			memcpy(nodes[i].durable_name, nodes[i].name, NAME_MAX_LEN);
	}
}

static void take_point(void)
{
	if (point_count == POINTS_MAX)
		return;
	struct point *point = &points[point_count++];
	memcpy(point->acked, acked, sizeof(acked));
	point->forwarded = forwarded;
	point->node_count = 0;
	for (unsigned i = 0; i < node_count; i++) {
		struct node *node = &nodes[i];
		if ((node->name[0] == '\0' && node->durable_name[0] == '\0') || strcmp(node->name, "lock") == 0)
			continue;
		if (point->node_count == NODES_MAX)
			abort();
		struct saved_node *saved = &point->nodes[point->node_count++];
		memcpy(saved->name, node->name, NAME_MAX_LEN);
		memcpy(saved->durable_name, node->durable_name, NAME_MAX_LEN);
		saved->durable = node->durable;
		saved->durable_size = node->durable_size;
		saved->current = node->name[0] != '\0' ? current_content(node->name, &saved->current_size) : NULL;
		/* A rename that is under way may be over in the real directory. */
		if (saved->current == NULL && node->renaming) {
			char name[NAME_MAX_LEN];
			memcpy(name, node->name, sizeof(name));
			name[strlen(name) - strlen(".tmp")] = '\0';
			saved->current = current_content(name, &saved->current_size);
		}
	}
}

static int disk_hook(void *data, const struct file_call *call)
{
	bool writer = f.journal != NULL && pthread_equal(pthread_self(), f.journal->writer.thread);
	int result = 0;
	pthread_mutex_lock(&lock);
	switch (call->op) {
	case FILE_OPEN:
		/* A segment is handed to the writer after the call that made it has returned. */
		if (writer)
			returned(false);
		break;
	case FILE_WRITE:
		returned(writer);
		node_by_fd(call->fd);
		take_point();
		break;
	case FILE_SYNC: {
		returned(writer);
		struct node *node = node_by_fd(call->fd);
		take_point();
		node->by_writer = writer;
		if (writer && fail_one_of > 0 && random_up_to(fail_one_of) == 0) {
			result = EIO;
			break;
		}
		node->syncing = current_content(node->name, &node->syncing_size);
		break;
	}
	case FILE_SYNC_DIRECTORY:
		returned(writer);
		take_point();
		directory_syncing = true;
		break;
	case FILE_RENAME: {
		returned(writer);
		take_point();
		struct node *node = node_by_name(call->name);
		node->renaming = true;
		node->by_writer = false;
		break;
	}
	case FILE_UNLINK: {
		returned(writer);
		take_point();
		node_by_name(call->name)->name[0] = '\0';
		break;
	}
	default:
		break;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

static void acked_event(struct journal_append *append, int status)
{
	struct event *event = (struct event *)append;
	event->calls++;
	event->status = status;
	pthread_mutex_lock(&lock);
	if (status == 0) {
		/* The writer's sync has returned, or this comes too early. */
		returned(true);
		acked[event - events] = true;
	}
	pthread_mutex_unlock(&lock);
}

static bool event_try(unsigned n)
{
	char payload[700];
	const struct slice part = {payload, payload_make(payload, n, 200 + n * 37 % 500)};
	events[n].append.done = acked_event;
	if (journal_append(f.journal, &events[n].append, &part, 1) != 0)
		return false;
	sequence_of[n] = events[n].append.sequence;
	return true;
}

static void live(unsigned count)
{
	for (unsigned n = 0; n < count;) {
		unsigned batch = 1 + random_up_to(9);
		for (unsigned i = 0; i < batch && n < count; i++) {
			RUN_UNTIL(&f, event_try(n));
			n++;
		}
		for (unsigned i = random_up_to(4); i > 0; i--)
			uv_run(&f.loop, UV_RUN_NOWAIT);
		if (random_up_to(2) == 0)
			RUN_UNTIL(&f, stats_of(&f).pending_bytes == 0);
		if (random_up_to(3) != 0)
			continue;
		struct reading reading;
		reading_run(&f, &reading, stats_of(&f).checkpoint, 20, 10000);
		pthread_mutex_lock(&lock);
		forwarded = reading.read.last;
		pthread_mutex_unlock(&lock);
		journal_checkpoint(f.journal, reading.read.last);
		journal_read_release(&reading.read);
	}
	for (unsigned n = 0; n < count; n++)
		RUN_UNTIL(&f, events[n].calls == 1);
}

static void put_file(const char *directory, const char *name, const char *content, size_t size)
{
	char path[192];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert_eq(write(fd, content, size), (ssize_t)size);
	close(fd);
}

static void put_mixed(const char *directory, const struct saved_node *node)
{
	const char *name = random_up_to(2) == 0 ? node->name : node->durable_name;
	size_t size = node->durable_size > node->current_size ? node->durable_size : node->current_size;
	if (name[0] == '\0')
		return;
	if (node->current == NULL)
		size = node->durable_size;
	char *content = calloc(1, size + 1);
	for (size_t at = 0; at < size; at += 512) {
		bool fresh = node->current != NULL && random_up_to(2) == 0;
		const char *from = fresh ? node->current : node->durable;
		size_t from_size = fresh ? node->current_size : node->durable_size;
		if (from != NULL && at < from_size)
			memcpy(content + at, from + at, from_size - at < 512 ? from_size - at : 512);
	}
	put_file(directory, name, content, size);
	free(content);
}

static void put_disk(const char *directory, const struct point *point, enum disk disk)
{
	cr_assert_eq(mkdir(directory, 0700), 0);
	for (unsigned i = 0; i < point->node_count; i++) {
		const struct saved_node *node = &point->nodes[i];
		if (disk == DISK_MIXED)
			put_mixed(directory, node);
		else if (disk == DISK_KILLED && node->name[0] != '\0' && node->current != NULL)
			put_file(directory, node->name, node->current, node->current_size);
		else if (disk == DISK_CUT && node->durable_name[0] != '\0')
			put_file(directory, node->durable_name, node->durable, node->durable_size);
	}
}

static void read_disk(unsigned *seen, uint64_t after)
{
	for (;;) {
		struct reading reading;
		reading_run(&f, &reading, after, 1000, 1000000);
		cr_assert_eq(reading.status, 0);
		for (size_t i = 0; i < reading.read.count; i++) {
			unsigned n = record_number(&reading.read.records[i]);
			cr_assert_lt(n, EVENTS + 1);
			seen[n]++;
			if (n < EVENTS)
				cr_assert_eq(reading.read.records[i].sequence, sequence_of[n]);
		}
		size_t count = reading.read.count;
		after = reading.read.last;
		journal_read_release(&reading.read);
		if (count == 0)
			return;
	}
}

static void check_seen(const struct point *point, const unsigned *seen, const char *where)
{
	for (unsigned n = 0; n < EVENTS; n++) {
		cr_assert_leq(seen[n], 1, "%s: event %u comes twice", where, n);
		if (point->acked[n] && sequence_of[n] > point->forwarded)
			cr_assert_eq(seen[n], 1, "%s: event %u was acknowledged and is lost", where, n);
	}
}

static void check_point(unsigned number, enum disk disk)
{
	static const char *const names[] = {"killed", "cut", "mixed"};
	const struct point *point = &points[number];
	char directory[96];
	char where[64];
	unsigned seen[EVENTS + 1] = {0};
	struct event event;
	snprintf(directory, sizeof(directory), "%s.%u.%s", f.directory, number, names[disk]);
	snprintf(where, sizeof(where), "point %u of %u, %s", number, point_count, names[disk]);
	put_disk(directory, point, disk);
	f.options.directory = directory;
	cr_assert_eq(fixture_open(&f), 0, "%s: %s", where, f.error.detail);
	uint64_t checkpoint = stats_of(&f).checkpoint;
	cr_assert_leq(checkpoint, point->forwarded);
	read_disk(seen, checkpoint);
	check_seen(point, seen, where);
	/* Life goes on, and what comes next does not disturb what was there. */
	cr_assert_eq(event_append(&f, &event, EVENTS, 200), 0, "%s", where);
	for (unsigned n = 0; n < EVENTS; n++)
		cr_assert(!point->acked[n] || sequence_of[n] < event.append.sequence, "%s: a sequence is given out again", where);
	RUN_UNTIL(&f, event.calls == 1);
	cr_assert_eq(event.status, 0);
	fixture_close(&f);
	OPEN(&f);
	memset(seen, 0, sizeof(seen));
	read_disk(seen, checkpoint);
	check_seen(point, seen, where);
	cr_assert_eq(seen[EVENTS], 1);
	fixture_close(&f);
	remove_directory(directory);
}

static void crash_everywhere(unsigned count, unsigned fail)
{
	fixture_init(&f);
	points = calloc(POINTS_MAX, sizeof(*points));
	fail_one_of = fail;
	file_set_hook(disk_hook, NULL);
	OPEN(&f);
	live(count);
	fixture_close(&f);
	file_set_hook(NULL, NULL);
	cr_assert_gt(point_count, 50);
	cr_assert_lt(point_count, POINTS_MAX);
	for (unsigned i = 0; i < point_count; i++)
		for (unsigned disk = 0; disk < DISK_COUNT; disk++)
			check_point(i, disk);
	f.options.directory = f.directory;
	fixture_end(&f);
}

TestSuite(crash, .timeout = 110);

Test(crash, no_acknowledged_event_is_lost_wherever_the_machine_stops)
{
	crash_everywhere(EVENTS, 0);
}

Test(crash, no_acknowledged_event_is_lost_when_syncs_fail_now_and_then_either)
{
	crash_everywhere(EVENTS, 10);
}

Test(crash, no_acknowledged_event_is_lost_when_most_batches_fail_once_or_twice)
{
	crash_everywhere(200, 4);
}
