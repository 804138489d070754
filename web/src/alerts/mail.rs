//! Mail by SMTP. A way that shall be encrypted and is not sends nothing.

use super::message::{subject, text};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use web_api::alert::{AlertMessage, AlertTarget, MailEncryption};

/// Sends a message. An error is in words for people.
pub async fn send(target: &AlertTarget, password: Option<&str>, message: &AlertMessage) -> Result<(), String> {
    let AlertTarget::Mail { host, port, encryption, user, from, to } = target else {
        return Err("this is no address of a mail".into());
    };
    let mail = compose(from, to, message)?;
    let mut transport =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(*port).tls(tls(host, *encryption)?);
    if let Some(user) = user {
        transport = transport.credentials(Credentials::new(user.clone(), password.unwrap_or_default().to_owned()));
    }
    transport.build().send(mail).await.map(drop).map_err(|error| error.to_string())
}

/// Whether it is the address of a mailbox.
pub fn is_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

fn tls(host: &str, encryption: MailEncryption) -> Result<Tls, String> {
    let parameters = || TlsParameters::new_rustls(host.to_owned()).map_err(|error| error.to_string());
    Ok(match encryption {
        MailEncryption::Tls => Tls::Wrapper(parameters()?),
        MailEncryption::StartTls => Tls::Required(parameters()?),
        MailEncryption::Off => Tls::None,
    })
}

fn compose(from: &str, to: &[String], message: &AlertMessage) -> Result<Message, String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text:?} is no address: {error}"));
    let mut mail = Message::builder().from(mailbox(from)?).subject(subject(message));
    for recipient in to {
        mail = mail.to(mailbox(recipient)?);
    }
    mail.header(ContentType::TEXT_PLAIN).body(text(message)).map_err(|error| error.to_string())
}
