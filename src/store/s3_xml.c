/* SPDX-License-Identifier: MIT */
#include "store/s3_xml.h"

#include "base/clock.h"

#include <expat.h>
#include <stdio.h>

#define DEPTH_MAX 8
#define NAME_SIZE 32
#define DOCUMENT_MAX ((size_t)16 * 1024 * 1024)

/* ---- A walk over a document ---- */

/* An element and where its text goes. Not at this depth or under another parent: not this element. */
struct field {
	const char *parent;
	const char *name;
	char *out;
	size_t size;
};

#define FIELD(parent, name, array)                       \
	{                                                \
		(parent), (name), (array), sizeof(array) \
	}

struct walk {
	XML_Parser parser;
	const char *root;
	const struct field *fields; /* ends with one without a name */
	/* In place of the result an <Error> may come: S3 begins some answers before it knows how they end. */
	const struct field *error_fields;
	void (*on_close)(struct walk *walk, const char *name); /* a child of the root has ended; may be NULL */
	void *data;

	bool is_error;
	bool stopped; /* by on_close, who has enough */
	bool refused; /* another document than was asked for, a DTD, too deep */
	size_t depth;
	char names[DEPTH_MAX][NAME_SIZE];
	const struct field *open; /* whose text comes now */
	size_t text_len;
	bool text_cut;
};

static void walk_stop(struct walk *walk, bool *why)
{
	*why = true;
	XML_StopParser(walk->parser, XML_FALSE);
}

static bool text_is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static const struct field *find_field(const struct walk *walk)
{
	const struct field *field = walk->is_error ? walk->error_fields : walk->fields;
	if (walk->depth < 2)
		return NULL;
	for (; field->name != NULL; field++) {
		if (text_is(field->name, walk->names[walk->depth - 1]) && text_is(field->parent, walk->names[walk->depth - 2]))
			return field;
	}
	return NULL;
}

static void on_start(void *data, const char *name, const char **attributes)
{
	struct walk *walk = data;
	const char *colon = strrchr(name, ':');
	(void)attributes;
	if (colon != NULL)
		name = colon + 1;
	if (walk->depth == 0) {
		walk->is_error = text_is(name, "Error");
		if (!walk->is_error && !text_is(name, walk->root)) {
			walk_stop(walk, &walk->refused);
			return;
		}
	} else if (walk->depth == DEPTH_MAX) {
		walk_stop(walk, &walk->refused);
		return;
	}
	/* A name longer than any we look for is cut, and matches none. */
	snprintf(walk->names[walk->depth++], NAME_SIZE, "%.*s", NAME_SIZE - 1, name);
	walk->open = find_field(walk);
	walk->text_len = 0;
	walk->text_cut = false;
	if (walk->open != NULL)
		walk->open->out[0] = '\0';
}

static void on_text(void *data, const char *text, int len)
{
	struct walk *walk = data;
	if (walk->open == NULL)
		return;
	size_t room = walk->open->size - 1 - walk->text_len;
	size_t part = (size_t)len < room ? (size_t)len : room;
	memcpy(walk->open->out + walk->text_len, text, part);
	walk->text_len += part;
	walk->open->out[walk->text_len] = '\0';
	walk->text_cut |= part < (size_t)len;
}

static void on_end(void *data, const char *name)
{
	struct walk *walk = data;
	(void)name;
	/* Half an id or a key is none; half a message is one. */
	if (walk->open != NULL && walk->text_cut && !walk->is_error)
		walk->open->out[0] = '\0';
	walk->open = NULL;
	walk->depth--;
	if (walk->depth == 1 && walk->on_close != NULL && !walk->is_error && !walk->stopped)
		walk->on_close(walk, walk->names[1]);
}

/* Entities come from nowhere else, and with them documents that grow when they are read. */
static void on_doctype(void *data, const char *name, const char *system_id, const char *public_id, int has_subset)
{
	struct walk *walk = data;
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_subset;
	walk_stop(walk, &walk->refused);
}

static int walk_document(struct walk *walk, struct slice document)
{
	if (document.len == 0 || document.len > DOCUMENT_MAX)
		return ERR_MALFORMED;
	walk->parser = XML_ParserCreate(NULL);
	if (walk->parser == NULL)
		return ERR_NOMEM;
	XML_SetUserData(walk->parser, walk);
	XML_SetElementHandler(walk->parser, on_start, on_end);
	XML_SetCharacterDataHandler(walk->parser, on_text);
	XML_SetStartDoctypeDeclHandler(walk->parser, on_doctype);
	enum XML_Status status = XML_Parse(walk->parser, document.ptr, (int)document.len, XML_TRUE);
	bool nomem = status != XML_STATUS_OK && XML_GetErrorCode(walk->parser) == XML_ERROR_NO_MEMORY;
	XML_ParserFree(walk->parser);
	if (nomem)
		return ERR_NOMEM;
	if (walk->refused || (status != XML_STATUS_OK && !walk->stopped))
		return ERR_MALFORMED;
	return walk->is_error ? ERR_STORE : 0;
}

/* ---- Errors ---- */

#define ERROR_FIELDS(error)                                                                                               \
	{                                                                                                                 \
		FIELD("Error", "Code", (error)->code), FIELD("Error", "Message", (error)->message),                       \
			FIELD("Error", "Region", (error)->region), FIELD("Error", "Endpoint", (error)->endpoint), {NULL}, \
	}

int s3_xml_read_error(struct slice document, struct s3_xml_error *ret)
{
	*ret = (struct s3_xml_error){0};
	const struct field fields[] = ERROR_FIELDS(ret);
	struct walk walk = {.root = "Error", .fields = fields, .error_fields = fields};
	int status = walk_document(&walk, document);
	return status == ERR_STORE ? 0 : status;
}

/* ---- Multipart ---- */

int s3_xml_read_initiate(struct slice document, char upload_id[S3_UPLOAD_ID_SIZE], struct s3_xml_error *error)
{
	*error = (struct s3_xml_error){0};
	upload_id[0] = '\0';
	const struct field error_fields[] = ERROR_FIELDS(error);
	const struct field fields[] = {{"InitiateMultipartUploadResult", "UploadId", upload_id, S3_UPLOAD_ID_SIZE}, {NULL}};
	struct walk walk = {.root = "InitiateMultipartUploadResult", .fields = fields, .error_fields = error_fields};
	int status = walk_document(&walk, document);
	return status == 0 && upload_id[0] == '\0' ? ERR_MALFORMED : status;
}

void s3_xml_unquote_etag(char *etag)
{
	size_t len = strlen(etag);
	if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
		memmove(etag, etag + 1, len - 2);
		etag[len - 2] = '\0';
	}
}

int s3_xml_read_complete(struct slice document, struct s3_xml_complete *ret, struct s3_xml_error *error)
{
	static const char root[] = "CompleteMultipartUploadResult";
	*error = (struct s3_xml_error){0};
	*ret = (struct s3_xml_complete){0};
	const struct field error_fields[] = ERROR_FIELDS(error);
	const struct field fields[] = {
		FIELD(root, "ETag", ret->etag), FIELD(root, "ChecksumSHA256", ret->checksum_sha256), {NULL}};
	struct walk walk = {.root = root, .fields = fields, .error_fields = error_fields};
	int status = walk_document(&walk, document);
	s3_xml_unquote_etag(ret->etag);
	return status;
}

/* ---- Listings ---- */

struct listing {
	const char *element; /* "Upload", "Contents" */
	bool is_uploads;
	s3_xml_entry_cb *on_entry;
	void *data;
	struct s3_xml_entry entry;
	char time[40];
	char truncated[8];
};

static void entry_clear(struct listing *listing)
{
	listing->entry.key[0] = '\0';
	listing->entry.upload_id[0] = '\0';
	listing->time[0] = '\0';
}

static void listing_close(struct walk *walk, const char *name)
{
	struct listing *listing = walk->data;
	if (!text_is(name, listing->element))
		return;
	if (clock_parse_iso8601(listing->time, strlen(listing->time), &listing->entry.time_ms) != 0)
		listing->entry.time_ms = -1;
	bool whole = listing->entry.key[0] != '\0' && (!listing->is_uploads || listing->entry.upload_id[0] != '\0');
	if (whole && !listing->on_entry(listing->data, &listing->entry))
		walk_stop(walk, &walk->stopped);
	entry_clear(listing);
}

static int read_listing(struct slice document, const char *root, struct listing *listing, const struct field *fields,
			struct s3_xml_page *page)
{
	struct s3_xml_error error = {0};
	const struct field error_fields[] = ERROR_FIELDS(&error);
	struct walk walk = {
		.root = root, .fields = fields, .error_fields = error_fields, .on_close = listing_close, .data = listing};
	entry_clear(listing);
	int status = walk_document(&walk, document);
	/* Without a place to go on from, there is no next page. */
	page->truncated = status == 0 && !walk.stopped && text_is(listing->truncated, "true") && page->next_key[0] != '\0';
	return status;
}

int s3_xml_read_uploads(struct slice document, s3_xml_entry_cb *on_entry, void *data, struct s3_xml_page *page)
{
	static const char root[] = "ListMultipartUploadsResult";
	struct listing listing = {.element = "Upload", .is_uploads = true, .on_entry = on_entry, .data = data};
	*page = (struct s3_xml_page){0};
	const struct field fields[] = {
		FIELD("Upload", "Key", listing.entry.key),
		FIELD("Upload", "UploadId", listing.entry.upload_id),
		FIELD("Upload", "Initiated", listing.time),
		FIELD(root, "IsTruncated", listing.truncated),
		FIELD(root, "NextKeyMarker", page->next_key),
		FIELD(root, "NextUploadIdMarker", page->next_upload_id),
		{NULL},
	};
	return read_listing(document, root, &listing, fields, page);
}

int s3_xml_read_objects(struct slice document, s3_xml_entry_cb *on_entry, void *data, struct s3_xml_page *page)
{
	static const char root[] = "ListBucketResult";
	struct listing listing = {.element = "Contents", .on_entry = on_entry, .data = data};
	*page = (struct s3_xml_page){0};
	const struct field fields[] = {
		FIELD("Contents", "Key", listing.entry.key),
		FIELD("Contents", "LastModified", listing.time),
		FIELD(root, "IsTruncated", listing.truncated),
		FIELD(root, "NextContinuationToken", page->next_key),
		{NULL},
	};
	return read_listing(document, root, &listing, fields, page);
}
