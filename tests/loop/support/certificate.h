/* SPDX-License-Identifier: MIT */
/* Certificates for the occasion, valid for an hour, signed by themselves. */
#ifndef REELD_TESTS_LOOP_SUPPORT_CERTIFICATE_H
#define REELD_TESTS_LOOP_SUPPORT_CERTIFICATE_H

#include "base/check.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* `name`: whom it is for, as in "IP:127.0.0.1"; `common_name`: to tell two of them apart. The caller frees both. */
static inline void certificate_make(const char *name, const char *common_name, X509 **ret, EVP_PKEY **ret_key)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, name);
	REQUIRE(key != NULL && certificate != NULL && san != NULL);
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1,
				   -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	REQUIRE(X509_add_ext(certificate, san, -1) == 1 && X509_sign(certificate, key, EVP_sha256()) > 0);
	X509_EXTENSION_free(san);
	*ret = certificate;
	*ret_key = key;
}

#endif
